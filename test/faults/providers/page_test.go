package providers_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	. "github.com/onsi/gomega"

	testworld "github.com/providertoken/operator/test/world"
)

var (
	// update writes docs/faults.md anew.
	update = flag.Bool("update", false, "write docs/faults.md from what this run saw")
	// only is for work on some of the faults.
	only = flag.String("fault", "", "play only faults whose name matches this regular expression, and leave docs/faults.md alone")
)

// The page's generated parts stand between such marks.
const (
	mark    = "<!-- %s: written by test/faults/providers -->\n"
	endMark = "<!-- end -->\n"
)

// pagePath is where the page is.
func pagePath() string { return filepath.Join(testworld.Root(), "docs", "faults.md") }

// seen is the table of what users see: it does not change from run to run.
func seen() string {
	var b strings.Builder
	b.WriteString("| fault | reason | what the condition says |\n|---|---|---|\n")
	for _, f := range faults() {
		fmt.Fprintf(&b, "| %s | `%s` | %s; %s |\n", f.name, f.reason,
			strings.ReplaceAll(f.problem, hostHere, "*host*"), strings.ReplaceAll(f.do, hostHere, "*host*"))
	}
	return b.String()
}

// measured is the table of what a run counted. Jitter depends on the UID of an
// object, so that figures differ from run to run within the bounds that the test asserts.
func (l *life) measured() string {
	var b strings.Builder
	b.WriteString("| fault |")
	for _, p := range phases() {
		fmt.Fprintf(&b, " %s |", p.title)
	}
	b.WriteString(" seconds without a token |\n|---|---|---|---|---|---|\n")
	for i := 0; i < len(l.cells); i += len(phases()) {
		fmt.Fprintf(&b, "| %s |", l.cells[i].fault.name)
		for _, c := range l.cells[i : i+len(phases())] {
			fmt.Fprintf(&b, " %d / %s |", c.outage, brief(c.recovered-c.until))
		}
		last := l.cells[i+len(phases())-1]
		fmt.Fprintf(&b, " 60 + %d |\n", int((last.recovered - last.until).Seconds()))
	}
	return b.String()
}

func brief(d time.Duration) string {
	if d >= 10*time.Minute {
		return fmt.Sprintf("%d min", int(d.Minutes()))
	}
	return fmt.Sprintf("%d s", int(d.Seconds()))
}

// part is the generated part of a page with that name, with its marks.
func part(page, name string) string {
	from := strings.Index(page, fmt.Sprintf(mark, name))
	if from < 0 {
		return ""
	}
	length := strings.Index(page[from:], endMark)
	if length < 0 {
		return ""
	}
	return page[from : from+length+len(endMark)]
}

func marked(name, text string) string { return fmt.Sprintf(mark, name) + "\n" + text + "\n" + endMark }

// publish compares the page with what was seen, or writes it.
func (l *life) publish() {
	if *only != "" {
		return
	}
	before, err := os.ReadFile(pagePath())
	Expect(err).NotTo(HaveOccurred())
	page := string(before)
	parts := map[string]string{"seen": marked("seen", seen()), "measured": marked("measured", l.measured())}
	if *update {
		for name, text := range parts {
			old := part(page, name)
			Expect(old).NotTo(BeEmpty(), "the page has no part %q", name)
			page = strings.Replace(page, old, text, 1)
		}
		Expect(os.WriteFile(pagePath(), []byte(page), 0o600)).To(Succeed())
		return
	}
	figures := regexp.MustCompile(`\d+ / \d+ (s|min)|60 \+ \d+`)
	const stale = "docs/faults.md is stale: run `make faults`"
	Expect(part(page, "seen")).To(Equal(parts["seen"]), stale)
	Expect(figures.ReplaceAllString(part(page, "measured"), "N")).To(Equal(figures.ReplaceAllString(parts["measured"], "N")), stale)
}
