package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"io"
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// plugin is the form of krew's index, apiVersion krew.googlecontainertools.github.com/v1alpha2.
type plugin struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   struct {
		Name string `json:"name"`
	} `json:"metadata"`
	Spec struct {
		Version          string `json:"version"`
		Homepage         string `json:"homepage"`
		ShortDescription string `json:"shortDescription"`
		Description      string `json:"description"`
		Caveats          string `json:"caveats"`
		Platforms        []struct {
			Selector struct {
				MatchLabels map[string]string `json:"matchLabels"`
			} `json:"selector"`
			URI    string `json:"uri"`
			SHA256 string `json:"sha256"`
			Bin    string `json:"bin"`
			Files  []struct {
				From string `json:"from"`
				To   string `json:"to"`
			} `json:"files"`
		} `json:"platforms"`
	} `json:"spec"`
}

func filled(t *testing.T) plugin {
	t.Helper()
	sums := map[platform]string{}
	for _, p := range platforms() {
		sums[p] = strings.Repeat("0a", 32)
	}
	text, err := manifest("v1.2.3", sums)
	if err != nil {
		t.Fatal(err)
	}
	var m plugin
	if err := yaml.UnmarshalStrict(text, &m); err != nil {
		t.Fatalf("krew knows no such field: %v", err)
	}
	return m
}

func TestTheManifestHasTheShapeThatKrewWants(t *testing.T) {
	m := filled(t)
	if m.APIVersion != "krew.googlecontainertools.github.com/v1alpha2" || m.Kind != "Plugin" || m.Metadata.Name != "providertoken" {
		t.Errorf("%s %s %s", m.APIVersion, m.Kind, m.Metadata.Name)
	}
	if !regexp.MustCompile(`^v\d+\.\d+\.\d+(-[\w.]+)?$`).MatchString(m.Spec.Version) || !strings.HasPrefix(m.Spec.Homepage, "https://") {
		t.Errorf("version %q, homepage %q", m.Spec.Version, m.Spec.Homepage)
	}
	// krew's own rules for the index: one short line, and lines of at most 80 characters.
	if s := m.Spec.ShortDescription; s == "" || len(s) > 50 || strings.ContainsAny(s, "\n.") {
		t.Errorf("shortDescription %q", s)
	}
	for line := range strings.SplitSeq(m.Spec.Description, "\n") {
		if len(line) > 80 {
			t.Errorf("the description's line %q is too long", line)
		}
	}
	seen := map[string]bool{}
	for _, p := range m.Spec.Platforms {
		where := p.Selector.MatchLabels["os"] + "/" + p.Selector.MatchLabels["arch"]
		seen[where] = true
		wantBin, wantEnd := "kubectl-providertoken", ".tar.gz"
		if strings.HasPrefix(where, "windows/") {
			wantBin, wantEnd = "kubectl-providertoken.exe", ".zip"
		}
		if p.Bin != wantBin || !strings.HasSuffix(p.URI, wantEnd) || !strings.Contains(p.URI, "/v1.2.3/") || !strings.HasPrefix(p.URI, "https://") {
			t.Errorf("%s: bin %s, uri %s", where, p.Bin, p.URI)
		}
		if !regexp.MustCompile(`^[a-f0-9]{64}$`).MatchString(p.SHA256) {
			t.Errorf("%s: sha256 %q", where, p.SHA256)
		}
		if len(p.Files) != 2 || p.Files[0].From != wantBin || p.Files[1].From != "LICENSE" {
			t.Errorf("%s: files %v", where, p.Files)
		}
	}
	if len(seen) != 6 || len(m.Spec.Platforms) != 6 {
		t.Errorf("platforms %v", seen)
	}
}

func TestAnArchiveIsTheSameEachTimeAndCanBeRun(t *testing.T) {
	files := []file{{"kubectl-providertoken", []byte("program"), 0o755}, {"LICENSE", []byte("text"), 0o644}}
	for _, p := range []platform{{"linux", "amd64"}, {"windows", "arm64"}} {
		first, err := pack(p, files)
		if err != nil {
			t.Fatal(err)
		}
		second, err := pack(p, files)
		if err != nil || !bytes.Equal(first, second) {
			t.Errorf("%v: %d and %d bytes, %v", p, len(first), len(second), err)
		}
	}
	packed, err := pack(platform{"linux", "amd64"}, files)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	r := tar.NewReader(plain)
	h, err := r.Next()
	if err != nil || h.Name != "kubectl-providertoken" || h.Mode != 0o755 || h.ModTime.Unix() != 0 {
		t.Fatalf("%+v, %v", h, err)
	}
	if text, err := io.ReadAll(r); err != nil || string(text) != "program" {
		t.Errorf("%q, %v", text, err)
	}
	packed, err = pack(platform{"windows", "amd64"}, files)
	if err != nil {
		t.Fatal(err)
	}
	z, err := zip.NewReader(bytes.NewReader(packed), int64(len(packed)))
	if err != nil || len(z.File) != 2 || z.File[0].Name != "kubectl-providertoken" {
		t.Errorf("%v, %v", z, err)
	}
}
