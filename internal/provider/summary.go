package provider

import "strings"

// Summary is the first sentence of Description, without its full stop.
func (d Definition) Summary() string {
	first, _, _ := strings.Cut(d.Description, ". ")
	return strings.TrimSuffix(first, ".")
}
