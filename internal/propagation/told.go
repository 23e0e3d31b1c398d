package propagation

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/resourceversion"

	"github.com/providertoken/operator/internal/mounts"
)

// told is what the annotation says: for each Secret the resource version that the
// pod was last told of.
type told map[string]string

// parseTold reads the annotation's value, "name=version,name=version". What is
// unreadable was never told.
func parseTold(value string) told {
	t := told{}
	for entry := range strings.SplitSeq(value, ",") {
		name, version, found := strings.Cut(entry, "=")
		if found && name != "" && version != "" {
			t[name] = version
		}
	}
	return t
}

// with is the annotation's value once the pod is told of a version of one more
// Secret; entries of Secrets that it reads no longer go.
func (t told) with(name, version string, reads map[string]mounts.Reading) string {
	entries := []string{name + "=" + version}
	for other, v := range t {
		if _, still := reads[other]; still && other != name {
			entries = append(entries, other+"="+v)
		}
	}
	slices.Sort(entries)
	return strings.Join(entries, ",")
}

// older tells whether resource version a was before b.
func older(a, b string) bool {
	order, err := resourceversion.CompareResourceVersion(a, b)
	return err == nil && order < 0
}
