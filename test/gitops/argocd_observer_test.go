//go:build argocd

package gitops

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/clientcmd"
)

// transcript tells a person what happened.
type transcript struct {
	mu    sync.Mutex
	began time.Time
	out   io.Writer
}

func newTranscript(t *testing.T, e environment) *transcript {
	t.Helper()
	file, err := os.Create(filepath.Join(e.logs, "transcript.txt"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	return &transcript{began: time.Now(), out: io.MultiWriter(os.Stdout, file)}
}

func (l *transcript) say(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, _ = fmt.Fprintf(l.out, "%6.1fs  %s\n", time.Since(l.began).Seconds(), fmt.Sprintf(format, args...))
}

// chapter begins another part of the story.
func (l *transcript) chapter(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, _ = fmt.Fprintf(l.out, "\n%6.1fs  == %s\n", time.Since(l.began).Seconds(), fmt.Sprintf(format, args...))
}

// app is what Argo CD says of an Application.
type app struct {
	name, sync, health, message string
	phase, phaseMessage         string
	revision                    string // compared with
	synced                      string // by the last operation
	operation                   string // when the last one began
	reconciled                  string // when it was compared last
	conditions                  []string
}

func readApp(o *unstructured.Unstructured) app {
	text := func(path ...string) string {
		s, _, _ := unstructured.NestedString(o.Object, append([]string{"status"}, path...)...)
		return s
	}
	a := app{
		name: o.GetName(), sync: text("sync", "status"), health: text("health", "status"), message: text("health", "message"),
		phase: text("operationState", "phase"), phaseMessage: text("operationState", "message"),
		revision: text("sync", "revision"), synced: text("operationState", "syncResult", "revision"),
		operation: text("operationState", "startedAt"), reconciled: text("reconciledAt"),
	}
	conditions, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
	for _, c := range conditions {
		if c, ok := c.(map[string]any); ok {
			a.conditions = append(a.conditions, fmt.Sprintf("%v: %v", c["type"], c["message"]))
		}
	}
	return a
}

func (a app) line() string {
	state := orDash(a.sync) + " " + orDash(a.health)
	if a.phase != "" {
		state += ", sync " + a.phase
	}
	if a.phase == "Running" || a.phase == "Failed" || a.phase == "Error" {
		state += " (" + a.phaseMessage + ")"
	}
	if len(a.conditions) > 0 {
		state += " " + strings.Join(a.conditions, "; ")
	}
	return state
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// observer follows everything that Argo CD ever says about its Applications.
type observer struct {
	*transcript
	t       *testing.T
	client  dynamic.Interface
	mu      sync.Mutex
	history []app
}

func gvr(resource string) schema.GroupVersionResource {
	switch resource {
	case "applications":
		return schema.GroupVersionResource{Group: "argoproj.io", Version: "v1alpha1", Resource: resource}
	case "providertokens", "clustertokenproviders":
		return schema.GroupVersionResource{Group: "providertoken.dev", Version: "v1alpha1", Resource: resource}
	case "customresourcedefinitions":
		return schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: resource}
	case "deployments":
		return schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: resource}
	}
	return schema.GroupVersionResource{Version: "v1", Resource: resource}
}

func newObserver(t *testing.T, e environment, log *transcript) *observer {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", e.kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	config.QPS = -1
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return &observer{transcript: log, t: t, client: client}
}

// follow watches until the test ends.
func (o *observer) follow() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	o.t.Cleanup(func() { cancel(); <-done })
	go func() {
		defer close(done)
		last := map[string]string{}
		for ctx.Err() == nil {
			w, err := o.client.Resource(gvr("applications")).Namespace("argocd").Watch(ctx, metav1.ListOptions{})
			if err != nil {
				o.say("the watch of Applications failed: %v", err)
				time.Sleep(time.Second)
				continue
			}
			for event := range w.ResultChan() {
				object, ok := event.Object.(*unstructured.Unstructured)
				if !ok {
					break
				}
				a := readApp(object)
				line := a.line()
				if event.Type == "DELETED" {
					line = "deleted"
				}
				o.mu.Lock()
				o.history = append(o.history, a)
				o.mu.Unlock()
				if last[a.name] != line {
					o.say("    app %-16s %s", a.name, line)
					last[a.name] = line
				}
			}
			w.Stop()
		}
	}()
}

func (o *observer) mark() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.history)
}

// since is all that was said after the mark.
func (o *observer) since(mark int) []app {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.history[mark:])
}

func (o *observer) get(resource, namespace, name string) (*unstructured.Unstructured, error) {
	return o.client.Resource(gvr(resource)).Namespace(namespace).Get(context.Background(), name, metav1.GetOptions{})
}

func (o *observer) must(resource, namespace, name string) *unstructured.Unstructured {
	o.t.Helper()
	got, err := o.get(resource, namespace, name)
	if err != nil {
		o.t.Fatalf("%s %s/%s: %v", resource, namespace, name, err)
	}
	return got
}

func (o *observer) app(name string) app {
	o.t.Helper()
	return readApp(o.must("applications", "argocd", name))
}

// absent tells that there is no such object.
func (o *observer) absent(resource, namespace, name string) error {
	switch got, err := o.get(resource, namespace, name); {
	case apierrors.IsNotFound(err):
		return nil
	case err != nil:
		return err
	default:
		return notYet("%s %s is there, finalizers %v", resource, got.GetName(), got.GetFinalizers())
	}
}

// settled waits until these Applications are Synced and Healthy and their last
// operation succeeded.
func (o *observer) settled(within time.Duration, names ...string) {
	o.t.Helper()
	eventually(o.t, within, fmt.Sprintf("%s are Synced and Healthy", strings.Join(names, ", ")), func() error {
		for _, name := range names {
			got, err := o.get("applications", "argocd", name)
			if err != nil {
				return err
			}
			if a := readApp(got); a.sync != "Synced" || a.health != "Healthy" || a.phase != "Succeeded" {
				return notYet("%s is %s: %s; %s; %v", name, a.line(), a.message, a.phaseMessage, a.conditions)
			}
		}
		return nil
	})
}

// issuedAt of the token that a target Secret holds.
func (o *observer) issuedAt(namespace, secret string) (string, error) {
	got, err := o.get("secrets", namespace, secret)
	if err != nil {
		return "", err
	}
	return got.GetAnnotations()["providertoken.dev/issued-at"], nil
}

// refreshed waits until each of these Secrets got another token.
func (o *observer) refreshed(secrets ...[2]string) {
	o.t.Helper()
	before := map[[2]string]string{}
	eventually(o.t, 2*tokenLifetime, "every target got another token", func() error {
		late := 0
		for _, s := range secrets {
			at, err := o.issuedAt(s[0], s[1])
			if err != nil {
				return err
			}
			if first, seen := before[s]; !seen {
				before[s] = at
				late++
			} else if first == at {
				late++
			}
		}
		if late > 0 {
			return notYet("%d have not", late)
		}
		return nil
	})
}

// claims by which Argo CD, Flux or Helm would take a Secret for theirs.
func claims(o *unstructured.Unstructured) []string {
	var found []string
	for _, metadata := range []map[string]string{o.GetLabels(), o.GetAnnotations()} {
		for key := range metadata {
			domain, _, _ := strings.Cut(key, "/")
			if domain != "providertoken.dev" && key != "argocd.argoproj.io/secret-type" {
				found = append(found, key)
			}
		}
	}
	return found
}
