package chart_test

import "testing"

// want is a claim about rendered objects: what the pointer leads to, in YAML.
// The value "absent" says that it, or with an empty pointer the object, is not there.
type want struct{ object, pointer, value string }

func expect(t *testing.T, found objects, wants []want) {
	t.Helper()
	for _, w := range wants {
		object, exists := found[w.object]
		if !exists && (w.pointer != "" || w.value != "absent") {
			t.Errorf("there is no %s", w.object)
			continue
		}
		got, there := any(object), exists
		if exists {
			got, there = at(object, w.pointer)
		}
		switch {
		case w.value == "absent" && there:
			t.Errorf("%s: %s is there: %s", w.object, w.pointer, canonical(t, got))
		case w.value == "absent":
		case !there:
			t.Errorf("%s: %s is missing", w.object, w.pointer)
		case canonical(t, got) != canonical(t, fromYAML(t, w.value)):
			t.Errorf("%s: %s is %s, not %s", w.object, w.pointer, canonical(t, got), w.value)
		}
	}
}
