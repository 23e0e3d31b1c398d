package provider

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

type field struct{ name, value string }

func (d *draft) add(name, value string) { d.fields = append(d.fields, field{name, value}) }

func (d *draft) contentType() string {
	if d.resolved.Request.Body == JSONBody {
		return jsonContentType
	}
	return formContentType
}

// encode writes the body; empty for none.
func (d *draft) encode() (string, error) {
	if d.resolved.Request.Method == http.MethodGet || len(d.fields)+len(d.members) == 0 {
		return "", nil
	}
	if d.resolved.Request.Body == JSONBody {
		return d.encodeJSON()
	}
	return d.encodeForm(), nil
}

// encodeForm writes the fields as application/x-www-form-urlencoded, in their order.
func (d *draft) encodeForm() string {
	pairs := make([]string, 0, len(d.fields))
	for _, f := range d.fields {
		pairs = append(pairs, url.QueryEscape(f.name)+"="+url.QueryEscape(f.value))
	}
	return strings.Join(pairs, "&")
}

// encodeJSON writes the fields in their order as string members of one object, then the
// further members. A field that comes more than once is a list.
func (d *draft) encodeJSON() (string, error) {
	values := map[string][]string{}
	var order []string
	for _, f := range d.fields {
		if values[f.name] == nil {
			order = append(order, f.name)
		}
		values[f.name] = append(values[f.name], f.value)
	}
	members := make([]string, 0, len(order)+len(d.members))
	add := func(name string, value any) error {
		key, err := jsonText(name)
		if err != nil {
			return err
		}
		text, err := jsonText(value)
		members = append(members, key+":"+text)
		return err
	}
	for _, name := range order {
		var value any = values[name]
		if len(values[name]) == 1 {
			value = values[name][0]
		}
		if err := add(name, value); err != nil {
			return "", err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(d.members)) {
		if err := add(name, d.members[name]); err != nil {
			return "", err
		}
	}
	return "{" + strings.Join(members, ",") + "}", nil
}

// jsonText is a value as JSON, without the escapes that are for HTML.
func jsonText(value any) (string, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return "", inputf("use texts, numbers, true, false, null, lists and objects", "request.json holds something that is no JSON value")
	}
	return strings.TrimSuffix(out.String(), "\n"), nil
}
