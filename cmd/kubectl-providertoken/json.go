package main

import (
	"encoding/json"
	"io"
)

// printJSON prints for programs, with <, > and & as they are.
func printJSON(out io.Writer, v any) error {
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}
