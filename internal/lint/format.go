package lint

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// Text writes findings for people: file:line: severity: message (fix) [rule].
func Text(out io.Writer, findings []Finding) error {
	for _, f := range findings {
		if _, err := fmt.Fprintln(out, f); err != nil {
			return err
		}
	}
	return nil
}

// JSON writes findings for programs: one list, empty when there are none.
func JSON(out io.Writer, findings []Finding) error {
	if findings == nil {
		findings = []Finding{}
	}
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(findings)
}

// GitHub writes findings as workflow commands, which GitHub shows beside the lines of a change.
func GitHub(out io.Writer, findings []Finding) error {
	for _, f := range findings {
		message := f.Message
		if f.Object != "" {
			message = f.Object + ": " + message
		}
		if f.Fix != "" {
			message += " (" + f.Fix + ")"
		}
		_, err := fmt.Fprintf(out, "::%s file=%s,line=%d,title=%s::%s\n", f.Severity, property(f.File), f.Line, property("providertoken/"+f.Rule), data(message))
		if err != nil {
			return err
		}
	}
	return nil
}

// data escapes the message of a workflow command, so that a name in a file gives no command.
func data(s string) string {
	return strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A").Replace(s)
}

// property escapes a property of a workflow command.
func property(s string) string {
	return strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C").Replace(s)
}
