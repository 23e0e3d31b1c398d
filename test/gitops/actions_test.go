package gitops

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	jsonpatch "github.com/evanphx/json-patch"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/argoproj/argo-cd/v3/util/lua"
)

// offered are the actions that Argo CD offers for o.
func (c customizations) offered(t *testing.T, o *unstructured.Unstructured) []string {
	t.Helper()
	vm := lua.VM{ResourceOverrides: c}
	scripts, err := vm.GetResourceActionDiscovery(o)
	if err != nil {
		t.Fatal(err)
	}
	actions, err := vm.ExecuteResourceActionDiscovery(o, scripts)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, a := range actions {
		if a.Disabled {
			t.Errorf("action %s is there and disabled", a.Name)
		}
		if a.DisplayName == "" || a.IconClass == "" {
			t.Errorf("action %s has no name or no icon for people", a.Name)
		}
		names = append(names, a.Name)
	}
	slices.Sort(names)
	return names
}

// patch is what Argo CD sends to the API server when the action is run on o.
func (c customizations) patch(t *testing.T, o *unstructured.Unstructured, action string) string {
	t.Helper()
	vm := lua.VM{ResourceOverrides: c}
	definition, err := vm.GetResourceAction(o, action)
	if err != nil {
		t.Fatal(err)
	}
	before := marshal(t, o)
	changed, err := vm.ExecuteResourceAction(o, definition.ActionLua, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(changed) != 1 || changed[0].K8SOperation != lua.PatchOperation {
		t.Fatalf("the action does something else than patch one object: %v", changed)
	}
	merge, err := jsonpatch.CreateMergePatch(before, marshal(t, changed[0].UnstructuredObj))
	if err != nil {
		t.Fatal(err)
	}
	return string(merge)
}

func marshal(t *testing.T, o *unstructured.Unstructured) []byte {
	t.Helper()
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestActionsThatMakeSenseAreOffered(t *testing.T) {
	c := load(t)
	active, paused := []string{"refresh", "suspend"}, []string{"resume"}
	for _, name := range states(t) {
		o := state(t, name)
		want := active
		if suspended, _, _ := unstructured.NestedBool(o.Object, "spec", "suspend"); suspended {
			want = paused
		}
		if got := c.offered(t, o); !slices.Equal(got, want) {
			t.Errorf("%s: offered %v, want %v", name, got, want)
		}
	}
	o := state(t, "live")
	set(t, o, false, "spec", "suspend")
	if got := c.offered(t, o); !slices.Equal(got, active) {
		t.Errorf("after resuming: offered %v, want %v", got, active)
	}
}

func TestSuspendAndResumeChangeOneField(t *testing.T) {
	c := load(t)
	for _, name := range states(t) {
		o := state(t, name)
		suspended, _, _ := unstructured.NestedBool(o.Object, "spec", "suspend")
		action, want := "suspend", `{"spec":{"suspend":true}}`
		if suspended {
			action, want = "resume", `{"spec":{"suspend":false}}`
		}
		if got := c.patch(t, o, action); got != want {
			t.Errorf("%s of %s: patch %s, want %s", action, name, got, want)
		}
	}
}

func TestRefreshAsksOnceByAnAnnotationOfNow(t *testing.T) {
	const annotation = "providertoken.dev/refresh-requested-at"
	c, asked := load(t), state(t, "live")
	asked.SetAnnotations(map[string]string{annotation: "before", "kept": "yes"})
	for name, o := range map[string]*unstructured.Unstructured{
		"first": state(t, "live"), "again": asked, "while the provider is down": state(t, "live-provider-down"),
	} {
		t.Run(name, func(t *testing.T) {
			earliest := time.Now().UTC().Truncate(time.Second)
			var got struct {
				Metadata map[string]map[string]string `json:"metadata"`
			}
			text := c.patch(t, o, "refresh")
			decoder := json.NewDecoder(strings.NewReader(text))
			decoder.DisallowUnknownFields()
			if err := decoder.Decode(&got); err != nil {
				t.Fatalf("patch %s: %v", text, err)
			}
			at, err := time.Parse(time.RFC3339, got.Metadata["annotations"][annotation])
			if err != nil || at.Before(earliest) || at.After(time.Now()) {
				t.Errorf("asked at %v (%v), want now", at, err)
			}
			if len(got.Metadata) != 1 || len(got.Metadata["annotations"]) != 1 {
				t.Errorf("patch %s changes more than that", text)
			}
		})
	}
}
