package main

import (
	"encoding/json"
	"fmt"
	"io"
)

// say tells a person something beside the output. That it cannot be told is no failure.
func (p *plugin) say(format string, args ...any) { _, _ = fmt.Fprintf(p.Err(), format, args...) }

// printJSON prints for programs, with <, > and & as they are.
func printJSON(out io.Writer, v any) error {
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}
