package provider

import (
	"cmp"
	"maps"
	"net/url"
	"slices"
	"strings"
)

// maxSegment is the longest value of a parameter of the format Segment.
const maxSegment = 128

// value is what goes into the parameter's hole.
func (p Parameter) value(given map[string]string) (string, error) {
	value, ok := given[p.Name]
	if !ok && p.Default == "" {
		return "", inputf("set it", "the parameter %s is required", p.Name)
	}
	if !ok {
		value = p.Default
	}
	if len(p.Values) == 0 {
		return value, p.checkFormat(value)
	}
	filled, ok := p.Values[value]
	if !ok {
		return "", inputf("use one of "+strings.Join(slices.Sorted(maps.Keys(p.Values)), ", "),
			"the parameter %s has a value that the provider does not know", p.Name)
	}
	return filled, nil
}

func (p Parameter) format() ParameterFormat { return cmp.Or(p.Format, LabelFormat) }

func (p Parameter) checkFormat(value string) error {
	switch p.format() {
	case SegmentFormat:
		if !isSegment(value) {
			return inputf("use letters, digits, dots, hyphens and underscores, at most 128", "the parameter %s is not a segment of a path", p.Name)
		}
	case HostFormat:
		if !isAuthority(value) {
			return inputf("write a DNS name or an IP address, and a port if need be: sso.example.com or sso.example.com:8443",
				"the parameter %s is not a host", p.Name)
		}
	default:
		if !isDNSLabel(value) {
			return inputf("use lower-case letters, digits and hyphens, at most 63 (RFC 1123)", "the parameter %s is not a DNS label", p.Name)
		}
	}
	return nil
}

// isSegment claims that s is one segment of a path that means nothing but itself.
func isSegment(s string) bool {
	return s != "" && len(s) <= maxSegment && strings.Trim(s, ".") != "" && onlyOf(s, ".-_")
}

// isAuthority claims that s is a host with or without a port, and nothing else.
func isAuthority(s string) bool {
	if !onlyOf(s, ".-:[]") {
		return false
	}
	u, err := url.Parse(scheme + s)
	return err == nil && u.Host == s && checkHost("", u) == nil
}

// sample is something that may stand in the parameter's hole.
func (p Parameter) sample() string {
	for _, choice := range slices.Sorted(maps.Keys(p.Values)) {
		return p.Values[choice]
	}
	if p.format() == HostFormat {
		return "x.example.com"
	}
	return "x"
}

// free claims that a user chooses the parameter's value, not the definition.
func (p Parameter) free() bool { return len(p.Values) == 0 }

func (d Definition) parameterNames() []string {
	names := make([]string, 0, len(d.Parameters))
	for _, p := range d.Parameters {
		names = append(names, p.Name)
	}
	return names
}

// parameterValues returns what goes into each parameter's holes.
func (d Definition) parameterValues(given map[string]string) (map[string]string, error) {
	values := make(map[string]string, len(d.Parameters))
	for _, p := range d.Parameters {
		value, err := p.value(given)
		if err != nil {
			return nil, err
		}
		values[p.Name] = value
	}
	return values, nil
}

// samples returns something for each parameter's holes.
func (d Definition) samples() map[string]string {
	values := make(map[string]string, len(d.Parameters))
	for _, p := range d.Parameters {
		values[p.Name] = p.sample()
	}
	return values
}

// withoutIdleParameters drops the parameters that have no hole among these.
func (d Definition) withoutIdleParameters(holes map[string]bool) Definition {
	d.Parameters = slices.DeleteFunc(slices.Clone(d.Parameters), func(p Parameter) bool { return !holes[p.Name] })
	if len(d.Parameters) == 0 {
		d.Parameters = nil
	}
	return d
}

func (d Definition) validateParameters() error {
	seen, holes := map[string]bool{}, d.holes()
	for _, p := range d.Parameters {
		if !isName(p.Name) || p.Name == methodParameter {
			return inputf("use letters, digits, hyphens and underscores; method is taken", "a parameter has no usable name")
		}
		if slices.Contains(d.CredentialNames(), p.Name) {
			return inputf("give it another name", "the parameter %s has the name of a credential", p.Name)
		}
		if seen[p.Name] {
			return inputf("declare it once", "the parameter %s is declared twice", p.Name)
		}
		seen[p.Name] = true
		if !holes[p.Name] {
			return inputf("write "+hole(p.Name)+" where it belongs, or remove it", "the parameter %s does not occur in any URL or text", p.Name)
		}
		if err := d.validateParameter(p); err != nil {
			return err
		}
	}
	return nil
}

func (d Definition) validateParameter(p Parameter) error {
	if !slices.Contains([]ParameterFormat{LabelFormat, SegmentFormat, HostFormat}, p.format()) {
		return inputf("use one of Label, Segment, Host", "the format of the parameter %s has an unknown value", p.Name)
	}
	if p.Format != "" && !p.free() {
		return inputf("remove one of them", "the parameter %s has both a format and a list of values", p.Name)
	}
	for _, u := range d.urls() {
		if err := p.validatePlaces(u); err != nil {
			return err
		}
	}
	for choice, value := range p.Values {
		if choice == "" || !isText(choice) || !isPathSafe(value) {
			return inputf("use letters, digits, dots, hyphens and underscores", "the parameter %s lists a value that cannot stand in a URL", p.Name)
		}
	}
	if p.Default == "" {
		return nil
	}
	_, err := p.value(nil)
	return err
}

// validatePlaces looks at where the parameter stands in a URL.
func (p Parameter) validatePlaces(rawURL string) error {
	authority, rest := splitAuthority(rawURL)
	host, port, _ := strings.Cut(authority, ":")
	path, query, _ := strings.Cut(rest, "?")
	path, fragment, _ := strings.Cut(path, "#")
	h := hole(p.Name)
	if strings.Contains(port, h) || strings.Contains(query, h) || strings.Contains(fragment, h) {
		return inputf("use it in the host or the path only", "the parameter %s stands in the port, the query or the fragment of a URL", p.Name)
	}
	if !p.free() {
		return nil
	}
	switch p.format() {
	case SegmentFormat:
		if strings.Contains(host, h) {
			return inputf("set its format to Label or Host", "the parameter %s of format Segment stands in the host of a URL", p.Name)
		}
	case HostFormat:
		if strings.Contains(path, h) || (strings.Contains(authority, h) && authority != h) {
			return inputf("write "+scheme+h+"/…, or set another format", "the parameter %s of format Host is not the whole authority of a URL", p.Name)
		}
	default: // a label can stand in both
	}
	return nil
}
