package target

import (
	"errors"
	"fmt"
	"strings"
	"text/template"
	"text/template/parse"
	"unicode"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/token"
)

// Limits of templates, in bytes. Time is bounded by them: without range and
// templates that call each other nothing runs more often than it is written.
const (
	maxTemplate    = 64 << 10
	maxActions     = 64 << 10 // of all together, without their literal text
	maxKeyOutput   = 64 << 10
	maxTotalOutput = 512 << 10
	maxDetail      = 300
)

// templateData renders the template's data keys.
func templateData(t v1alpha1.Target, tok token.Token) (map[string][]byte, error) {
	if t.Template == nil {
		return nil, nil
	}
	if replacesKeys(t) && len(t.Template.Data) == 0 {
		return nil, invalidTemplate("add at least one key to it", "keys: Replace without target.template.data leaves nothing")
	}
	data := make(map[string][]byte, len(t.Template.Data))
	variables := templateVariables(tok)
	work := &allowance{left: maxWork}
	left, actions := maxTotalOutput, 0
	for _, key := range sortedKeys(t.Template.Data) {
		if err := checkDataKey(key); err != nil {
			return nil, err
		}
		tree, err := parseTemplate(key, string(t.Template.Data[key]))
		if err != nil {
			return nil, err
		}
		if actions += len(t.Template.Data[key]) - literal(tree.Root); actions > maxActions {
			return nil, &Error{Reason: TooLarge, Problem: "the actions of target.template.data are together longer than 64 KiB", Fix: "shorten them"}
		}
		out := &output{left: min(maxKeyOutput, left)}
		if err := execute(tree, variables, work, out); err != nil {
			return nil, err
		}
		data[key] = out.content
		left -= len(out.content)
	}
	return data, nil
}

// templateVariables are what templates know, as the API documents it.
func templateVariables(tok token.Token) map[string]any {
	return map[string]any{
		"token":         tok.Access.Reveal(),
		"authorization": authorization(tok),
		"tokenType":     tok.Type,
		"expiresAt":     formatInstant(tok.ExpiresAt),
		"expiresAtUnix": tok.ExpiresAt.Unix(),
		"issuedAt":      formatInstant(tok.IssuedAt),
		"scopes":        append([]string{}, tok.Scopes...),
	}
}

func checkDataKey(key string) error {
	if len(validation.IsConfigMapKey(key)) > 0 {
		return invalidTemplate("use up to 253 letters, digits, '-', '_' and '.'", "%q in target.template.data is not a valid key", key)
	}
	switch key {
	case TokenKey, ExpiresAtKey, PreviousTokenKey, PreviousExpiresAtKey:
		return invalidTemplate("use another key", "%q in target.template.data is reserved for the operator", key)
	}
	return nil
}

// parseTemplate parses a template and refuses what is not in the published language.
func parseTemplate(key, text string) (*parse.Tree, error) {
	if len(text) > maxTemplate {
		return nil, &Error{Reason: TooLarge, Problem: fmt.Sprintf("the template of data key %q is longer than 64 KiB", key), Fix: "shorten it"}
	}
	trees := map[string]*parse.Tree{}
	root, err := parse.New(key).Parse(text, "", "", trees, knownFunctions())
	if err != nil {
		return nil, invalidTemplate("correct target.template.data", "the template of data key %q is not valid (%s)", key, detail(err))
	}
	if len(trees) != 1 || trees[key] != root {
		return nil, refusedAction(key, "define")
	}
	if action := refused(root.Root); action != "" {
		return nil, refusedAction(key, action)
	}
	return root, nil
}

func refusedAction(key, action string) error {
	return invalidTemplate("write it without range, define, block and template", "the template of data key %q uses %s", key, action)
}

// refused names the first action below n that templates must not use; empty
// when there is none. What it does not know, it refuses.
func refused(n parse.Node) string {
	switch n := n.(type) {
	case *parse.TextNode, *parse.ActionNode, *parse.CommentNode:
		return "" // pipelines hold calls of known functions only, and no actions
	case *parse.ListNode:
		return refusedIn(n)
	case *parse.IfNode:
		return firstOf(refusedIn(n.List), refusedIn(n.ElseList))
	case *parse.WithNode:
		return firstOf(refusedIn(n.List), refusedIn(n.ElseList))
	case *parse.RangeNode:
		return "range"
	case *parse.TemplateNode:
		return "template"
	default:
		return "an unknown action"
	}
}

// literal is how much of a list is text that costs nothing to copy.
func literal(list *parse.ListNode) int {
	if list == nil {
		return 0
	}
	total := 0
	for _, n := range list.Nodes {
		switch n := n.(type) {
		case *parse.TextNode:
			total += len(n.Text)
		case *parse.IfNode:
			total += literal(n.List) + literal(n.ElseList)
		case *parse.WithNode:
			total += literal(n.List) + literal(n.ElseList)
		}
	}
	return total
}

func refusedIn(list *parse.ListNode) string {
	if list == nil {
		return ""
	}
	for _, n := range list.Nodes {
		if action := refused(n); action != "" {
			return action
		}
	}
	return ""
}

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// failure is a template that does not work with the values it was given. Its
// cause may quote them.
type failure struct {
	key   string
	cause error
}

func (f *failure) Error() string {
	return fmt.Sprintf("the template of data key %q does not work with this token", f.key)
}

// withoutDetail turns a failure into an Error that says nothing of the values.
func withoutDetail(err error) error {
	var f *failure
	if !errors.As(err, &f) {
		return err
	}
	return invalidTemplate("correct target.template.data", "%s", f.Error())
}

// withDetail tells the cause of a failure: for sample values only.
func withDetail(err error) error {
	var f *failure
	if !errors.As(err, &f) {
		return err
	}
	return invalidTemplate("correct target.template.data", "the template of data key %q does not work (%s)", f.key, detail(f.cause))
}

// execute renders tree into out.
func execute(tree *parse.Tree, variables map[string]any, work *allowance, out *output) error {
	t, err := template.New(tree.Name).Option("missingkey=error").Funcs(work.functions()).AddParseTree(tree.Name, tree)
	if err != nil {
		return &failure{key: tree.Name, cause: err}
	}
	err = t.Execute(out, variables)
	if err == nil {
		return nil
	}
	if over, ok := errors.AsType[*overflow](err); ok {
		return &Error{Reason: TooLarge, Problem: fmt.Sprintf("the template of data key %q %s", tree.Name, over.what), Fix: "let it make less"}
	}
	return &failure{key: tree.Name, cause: err}
}

// overflow is a limit that a template went over.
type overflow struct{ what string }

func (o *overflow) Error() string { return o.what }

// output is a writer that stops a template that writes too much.
type output struct {
	content []byte
	left    int
}

// Write implements io.Writer.
func (o *output) Write(p []byte) (int, error) {
	if len(p) > o.left {
		return 0, &overflow{what: "makes more than 64 KiB, or all together more than 512 KiB"}
	}
	o.left -= len(p)
	o.content = append(o.content, p...)
	return len(p), nil
}

// detail is a template engine's message in one short line.
func detail(err error) string {
	text := strings.TrimPrefix(err.Error(), "template: ")
	line := strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
	if runes := []rune(line); len(runes) > maxDetail {
		return string(runes[:maxDetail]) + "…"
	}
	return line
}
