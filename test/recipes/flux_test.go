//go:build recipes

package recipes

import (
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/fluxcd/pkg/git"
	"github.com/fluxcd/pkg/git/gogit"
	"github.com/fluxcd/pkg/git/repository"
	"sigs.k8s.io/yaml"
)

// gitRepository is what source-controller makes of one.
type gitRepository struct {
	Spec struct {
		URL string `json:"url"`
		Ref struct {
			Branch string `json:"branch"`
		} `json:"ref"`
		SecretRef struct {
			Name string `json:"name"`
		} `json:"secretRef"`
	} `json:"spec"`
}

// fluxGit clones with Flux's own Git client and its own reading of a Secret, which
// is what source-controller calls.
func fluxGit(t *testing.T, k *kitchen) string {
	door := newDoor(k.provider, "oauth2")
	server, work := startGit(t, door)
	authority := certificate(server)
	branches := map[string]string{"git-token.yaml": "flux-basic", "git-bearer-token.yaml": "flux-bearer"}
	for _, file := range []string{"git-token.yaml", "git-bearer-token.yaml"} {
		s := k.newSpace(t, branches[file])
		var source gitRepository
		if err := yaml.Unmarshal([]byte(k.manifest(t, "git-source.yaml", Replacement{"https://git.example.com", server.URL})), &source); err != nil {
			t.Fatal(err)
		}
		s.apply(t, k.credentials(t))
		s.apply(t, withAuthority(t, k.manifest(t, file), authority))
		first := s.ready(t, source.Spec.SecretRef.Name)
		pushed := commit(t, work)
		if cloned := source.clone(t, first); cloned != pushed {
			t.Fatalf("%s: cloned %s, want %s", file, cloned, pushed)
		}

		second := s.refresh(t, source.Spec.SecretRef.Name)
		door.withdraw(first.Data["token"])
		pushed = commit(t, work)
		if _, err := source.tryClone(t, first); err == nil {
			t.Errorf("%s: the Git server took the withdrawn token", file)
		}
		if cloned := source.clone(t, second); cloned != pushed {
			t.Errorf("%s: cloned %s, want %s", file, cloned, pushed)
		}
		if admitted, _ := door.entered(second.Data["token"]); admitted == 0 {
			t.Errorf("%s: the Git server has not seen the new token", file)
		}
		kept(t, second)
	}
	if door.bearers == 0 {
		t.Error("nothing came as a bearer")
	}
	return "Flux's Git client read username/password and bearerToken from the Secret and cloned over TLS, and after a refresh again while the old token was refused"
}

func (r gitRepository) clone(t *testing.T, secret object) string {
	t.Helper()
	commit, err := r.tryClone(t, secret)
	if err != nil {
		t.Fatal(err)
	}
	return commit
}

func (r gitRepository) tryClone(t *testing.T, secret object) (string, error) {
	t.Helper()
	address, err := url.Parse(r.Spec.URL)
	if err != nil {
		return "", err
	}
	auth, err := git.NewAuthOptions(*address, secret.Data)
	if err != nil {
		return "", err
	}
	client, err := gogit.NewClient(t.TempDir(), auth)
	if err != nil {
		return "", err
	}
	defer client.Close()
	commit, err := client.Clone(t.Context(), r.Spec.URL, repository.CloneConfig{
		CheckoutStrategy: repository.CheckoutStrategy{Branch: r.Spec.Ref.Branch}, ShallowClone: true,
	})
	if err != nil {
		return "", err
	}
	return commit.Hash.String(), nil
}

// startGit serves team/deploy.git over TLS, behind the door; work is a directory to
// commit to it from.
func startGit(t *testing.T, d *door) (server *httptest.Server, work string) {
	t.Helper()
	directory := t.TempDir()
	work = filepath.Join(directory, "work")
	bare := filepath.Join(directory, "team", "deploy.git")
	run(t, "", "git", "init", "--quiet", "--bare", "--initial-branch=main", bare)
	run(t, "", "git", "init", "--quiet", "--initial-branch=main", work)
	run(t, "", "git", "-C", work, "remote", "add", "origin", bare)
	programs := strings.TrimSpace(run(t, "", "git", "--exec-path"))
	backend := &cgi.Handler{
		Path: filepath.Join(programs, "git-http-backend"),
		Env:  []string{"GIT_PROJECT_ROOT=" + directory, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_GLOBAL=" + os.DevNull},
	}
	server = httptest.NewTLSServer(d.guard(http.Handler(backend)))
	t.Cleanup(server.Close)
	return server, work
}

// commit changes something and returns how the commit is called.
func commit(t *testing.T, work string) string {
	t.Helper()
	git := []string{"-C", work, "-c", "user.name=recipes", "-c", "user.email=recipes@example.com"}
	run(t, "", "git", append(git, "commit", "--quiet", "--allow-empty", "--message=change")...)
	run(t, "", "git", append(git, "push", "--quiet", "origin", "main")...)
	return strings.TrimSpace(run(t, "", "git", append(git, "rev-parse", "HEAD")...))
}

func certificate(server *httptest.Server) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
}

var placeholder = regexp.MustCompile(`(?m)^( +)-----BEGIN CERTIFICATE-----\n +…\n +-----END CERTIFICATE-----\n`)

// withAuthority puts a certificate where the document has three dots.
func withAuthority(t *testing.T, manifest, certificate string) string {
	t.Helper()
	found := placeholder.FindStringSubmatch(manifest)
	if found == nil {
		t.Fatal(fmt.Errorf("no certificate to replace in:\n%s", manifest))
	}
	var lines strings.Builder
	for line := range strings.Lines(certificate) {
		lines.WriteString(found[1] + line)
	}
	return strings.Replace(manifest, found[0], lines.String(), 1)
}
