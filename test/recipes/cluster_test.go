//go:build recipes

package recipes

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience is how long the cluster may take for one thing.
const patience = 2 * time.Minute

// cluster is what hack/cluster.sh and hack/recipes.sh provide.
type cluster struct {
	kubectl, loadImage, logs string
	build                    string // directory of programs, images and CRDs
	dist                     string
}

func getCluster(t *testing.T) cluster {
	t.Helper()
	get := func(name string) string {
		value := os.Getenv(name)
		if value == "" {
			t.Fatalf("%s is not set: start this test with hack/recipes.sh", name)
		}
		return value
	}
	c := cluster{
		kubectl: get("E2E_KUBECTL"), loadImage: get("E2E_LOAD_IMAGE"), logs: filepath.Join(get("E2E_LOGS"), "recipes"),
		build: get("RECIPES_BUILD"), dist: get("RECIPES_DIST"),
	}
	if err := os.MkdirAll(c.logs, 0o755); err != nil {
		t.Fatal(err)
	}
	return c
}

// run runs a program to its end and returns what it printed.
func run(t *testing.T, stdin, path string, args ...string) string {
	t.Helper()
	out, err := try(t.Context(), stdin, path, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func try(ctx context.Context, stdin, path string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Stdin = strings.NewReader(stdin)
	var out, problems strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &problems
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s%s", filepath.Base(path), strings.Join(args, " "), err, out.String(), problems.String())
	}
	return out.String(), nil
}

// start runs a program until the test ends; its output goes to a log.
func (c cluster) start(t *testing.T, name string, args ...string) {
	t.Helper()
	log, err := os.Create(filepath.Join(c.logs, name+".log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(c.build, name), args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatalf("starting %s: %v", name, err)
	}
	ended := make(chan struct{})
	go func() {
		err := cmd.Wait()
		_, _ = fmt.Fprintf(log, "%s ended: %v\n", name, err)
		close(ended)
	}()
	t.Cleanup(func() {
		defer func() { _ = log.Close() }()
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
			<-ended
		}
	})
}

// load makes an image known to the node.
func (c cluster) load(t *testing.T, file string) {
	t.Helper()
	run(t, "", "sh", "-c", c.loadImage+` "$1"`, "sh", file)
}

// eventually asks until there is no error. It is for what kubectl cannot wait for.
func eventually(t *testing.T, what string, ask func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := ask()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s: %v", patience, what, err)
		}
		select {
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// space is a namespace of a recipe.
type space struct {
	cluster
	namespace string
}

func (c cluster) newSpace(t *testing.T, namespace string) space {
	t.Helper()
	s := space{cluster: c, namespace: namespace}
	run(t, "", c.kubectl, "create", "namespace", namespace)
	// What happened there is worth more than the last error.
	t.Cleanup(func() {
		if out, err := try(context.Background(), "", c.kubectl, "-n", namespace, "get", "events,ptok,pods", "-o", "wide"); err == nil {
			_ = os.WriteFile(filepath.Join(c.logs, namespace+".txt"), []byte(out), 0o600)
		}
	})
	return s
}

func (s space) do(t *testing.T, args ...string) string {
	t.Helper()
	return run(t, "", s.kubectl, append([]string{"-n", s.namespace}, args...)...)
}

func (s space) apply(t *testing.T, manifest string) {
	t.Helper()
	run(t, manifest, s.kubectl, "-n", s.namespace, "apply", "-f", "-")
}

// await waits for something that kubectl can wait for.
func (s space) await(t *testing.T, what, object string) {
	t.Helper()
	s.do(t, "wait", "--for="+what, object, "--timeout="+patience.String())
}

// object is what the tests look at.
type object struct {
	Metadata struct {
		Name            string            `json:"name"`
		UID             string            `json:"uid"`
		Labels          map[string]string `json:"labels"`
		Annotations     map[string]string `json:"annotations"`
		OwnerReferences []struct {
			Kind string `json:"kind"`
			Name string `json:"name"`
		} `json:"ownerReferences"`
	} `json:"metadata"`
	Data   map[string][]byte `json:"data"`
	Type   string            `json:"type"`
	Status struct {
		Conditions []struct {
			Type    string `json:"type"`
			Status  string `json:"status"`
			Reason  string `json:"reason"`
			Message string `json:"message"`
		} `json:"conditions"`
	} `json:"status"`
}

func (s space) get(t *testing.T, kind, name string) object {
	t.Helper()
	var o object
	if err := json.Unmarshal([]byte(s.do(t, "get", kind, name, "-o", "json")), &o); err != nil {
		t.Fatal(err)
	}
	return o
}

// reason of a condition, with its status: "False WaitingForCredentials".
func (o object) reason(condition string) string {
	for _, c := range o.Status.Conditions {
		if c.Type == condition {
			return c.Status + " " + c.Reason
		}
	}
	return ""
}

// ready waits until the ProviderToken is, and returns its target Secret.
func (s space) ready(t *testing.T, name string) object {
	t.Helper()
	s.await(t, "condition=Ready", "ptok/"+name)
	return s.get(t, "secret", name)
}

// refresh asks for a new token, and returns the target Secret with it.
func (s space) refresh(t *testing.T, name string) object {
	t.Helper()
	old := s.get(t, "secret", name)
	value := time.Now().UTC().Format(time.RFC3339Nano)
	s.do(t, "annotate", "ptok", name, "--overwrite", "providertoken.dev/refresh-requested-at="+value)
	s.await(t, `jsonpath={.metadata.annotations.providertoken\.dev/refresh-handled}=`+value, "secret/"+name)
	secret := s.get(t, "secret", name)
	if token := secret.Data["token"]; len(token) == 0 || string(token) == string(old.Data["token"]) {
		t.Fatal("a refresh that was served left the token as it was")
	}
	return secret
}
