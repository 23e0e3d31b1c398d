// Troubleshooting writes docs/troubleshooting.md into a tree: a section for each reason that a
// condition or event can have. Its test compares them with the API's constants, with the
// texts in the operator's sources, and with the alert rules.
//
//	go run ./hack/troubleshooting DIRECTORY
package main

import (
	_ "embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

const file = "docs/troubleshooting.md"

// head and tail are what stands around the sections.
var (
	//go:embed head.md
	head string
	//go:embed tail.md
	tail string
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "troubleshooting:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 {
		return errors.New("name the directory to write " + file + " into")
	}
	path := filepath.Join(args[0], file)
	return errors.Join(os.MkdirAll(filepath.Dir(path), 0o750), os.WriteFile(path, []byte(page()), 0o600))
}

// page is the whole page.
func page() string {
	var b strings.Builder
	b.WriteString(head)
	b.WriteString("\n## All reasons\n\n| reason | told by | what it says | what becomes of it |\n|---|---|---|---|\n")
	for _, r := range reasons() {
		fmt.Fprintf(&b, "| [`%s`](#%s) | %s | %s | %s |\n", r.name, strings.ToLower(r.name), r.condition, said(r), r.class)
	}
	for _, r := range reasons() {
		b.WriteString(r.section())
	}
	b.WriteString("\n" + tail)
	return b.String()
}

func said(r reason) string {
	if r.message == "…" {
		return "*where in the template, and what is wrong*"
	}
	return r.printed()
}

// printed is the message without the marks between what is put together from several texts.
func (r reason) printed() string { return strings.ReplaceAll(r.message, "¦", "") }

func (r reason) section() string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n## %s\n\n", r.name)
	if r.message != "…" {
		fmt.Fprintf(&b, "> %s\n\n", r.printed())
	}
	fmt.Fprintf(&b, "%s\n\n", r.means)
	fmt.Fprintf(&b, "*Told by:* %s. *By itself:* %s.", r.condition, r.class)
	if a := r.class.alerts(); a != "" {
		fmt.Fprintf(&b, " *Alerts:* %s. *Metric:* `providertoken_failing_tokens{reason=\"%s\"}`.", a, r.name)
	}
	b.WriteString("\n")
	if len(r.do) > 0 {
		b.WriteString("\nWhat to do:\n\n")
		for _, d := range r.do {
			fmt.Fprintf(&b, "- %s\n", d)
		}
	}
	if len(r.look) > 0 {
		fmt.Fprintf(&b, "\n```sh\n%s\n```\n", strings.Join(r.look, "\n"))
	}
	return b.String()
}
