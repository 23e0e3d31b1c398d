package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/CycloneDX/cyclonedx-go"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

const (
	tag  = "registry.example.com/tiny:v1.2.3"
	both = "linux/amd64,linux/arm64"
)

// tinyModule writes a module of one program into a directory of that name.
func tinyModule(t *testing.T, directory string) string {
	t.Helper()
	root := filepath.Join(t.TempDir(), directory)
	for path, content := range map[string]string{
		"go.mod":  "module example.com/tiny\n\ngo 1.26.0\n",
		"main.go": "package main\n\nvar version, commit string\n\nfunc main() { println(version, commit) }\n",
		"LICENSE": "do as you like\n",
	} {
		if err := os.MkdirAll(root, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, path), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// build runs the program and returns what it printed.
func build(t *testing.T, root string, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	args = append([]string{"-root", root, "-tag", tag, "-commit", "0123456"}, args...)
	if err := run(args, noEnv, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func noEnv(string) string { return "" }

// children of the layout in a directory: the index's images by platform.
func children(t *testing.T, directory string) map[string]v1.Image {
	t.Helper()
	top, err := layout.ImageIndexFromPath(directory)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := top.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	images := map[string]v1.Image{}
	for _, d := range manifest.Manifests {
		if d.MediaType != types.OCIImageIndex {
			continue
		}
		index, err := top.ImageIndex(d.Digest)
		if err != nil {
			t.Fatal(err)
		}
		inner, err := index.IndexManifest()
		if err != nil {
			t.Fatal(err)
		}
		for _, child := range inner.Manifests {
			if images[child.Platform.String()], err = index.Image(child.Digest); err != nil {
				t.Fatal(err)
			}
		}
	}
	return images
}

func TestTwoCheckoutsGiveTheSameDigests(t *testing.T) {
	var outputs []string
	for _, directory := range []string{"here", "quite/another/place"} {
		outputs = append(outputs, build(t, tinyModule(t, directory), "-oci", "layout", "-o", "image.tar", "-platform", both))
	}
	if outputs[0] != outputs[1] {
		t.Errorf("one is\n%sthe other\n%s", outputs[0], outputs[1])
	}
	for _, want := range []string{"linux/amd64 sha256:", "linux/arm64 sha256:", "index sha256:"} {
		if !strings.Contains(outputs[0], want) {
			t.Errorf("no %q is told in\n%s", want, outputs[0])
		}
	}
}

func TestEverythingWrittenIsTheSameToTheByte(t *testing.T) {
	written := func(directory string) map[string]string {
		root := tinyModule(t, directory)
		build(t, root, "-oci", "out/layout", "-o", "out/image.tar", "-platform", both)
		files := map[string]string{}
		out := filepath.Join(root, "out")
		if err := filepath.WalkDir(out, func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			content, err := os.ReadFile(path)
			files[strings.TrimPrefix(path, out)] = string(content)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return files
	}
	first, second := written("a"), written("b/c")
	if len(first) < 10 || len(first) != len(second) {
		t.Fatalf("%d files, then %d", len(first), len(second))
	}
	for path, content := range first {
		if second[path] != content {
			t.Errorf("%s differs", path)
		}
	}
}

func TestTheProgramKnowsItsVersionAndCommit(t *testing.T) {
	root := tinyModule(t, "x")
	q, err := parse([]string{"-root", root, "-tag", tag, "-commit", "0123456", "-o", "x"}, noEnv, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(root, "tiny")
	if err := q.compile(v1.Platform{OS: "linux", Architecture: "arm64"}, binary); err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"v1.2.3", "0123456"} {
		if !bytes.Contains(program, []byte(want)) {
			t.Errorf("no %s in the binary", want)
		}
	}
}

func TestTheImageHoldsTheProgramAndItsLicenceOnly(t *testing.T) {
	root := tinyModule(t, "x")
	build(t, root, "-oci", "layout", "-platform", both)
	for platform, image := range children(t, filepath.Join(root, "layout")) {
		var found []string
		layers, err := image.Layers()
		if err != nil {
			t.Fatal(err)
		}
		for _, layer := range layers {
			content, err := layer.Uncompressed()
			if err != nil {
				t.Fatal(err)
			}
			r := tar.NewReader(content)
			for header, err := r.Next(); err == nil; header, err = r.Next() {
				found = append(found, header.FileInfo().Mode().String()+" "+header.Name)
				if header.ModTime.Unix() != 0 || header.Uid != 0 || header.Gid != 0 || header.Uname != "" {
					t.Errorf("%s: %s belongs to %d:%d (%s) and is of %v", platform, header.Name, header.Uid, header.Gid, header.Uname, header.ModTime)
				}
			}
		}
		want := []string{"drwxr-xr-x licenses/", "-rw-r--r-- licenses/LICENSE", "-rwxr-xr-x manager"}
		if !slices.Equal(found, want) {
			t.Errorf("%s: holds %q, want %q", platform, found, want)
		}
	}
}

func TestTheIndexHoldsBothArchitecturesWithTheDockerfilesConfiguration(t *testing.T) {
	root := tinyModule(t, "x")
	build(t, root, "-oci", "layout", "-platform", both, "-label", "org.opencontainers.image.title=tiny")
	images := children(t, filepath.Join(root, "layout"))
	for _, platform := range strings.Split(both, ",") {
		image, found := images[platform]
		if !found {
			t.Fatalf("%s is not in the index, only %v", platform, images)
		}
		config, err := image.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		if config.OS+"/"+config.Architecture != platform {
			t.Errorf("%s: the config says %s/%s", platform, config.OS, config.Architecture)
		}
		if c := config.Config; c.User != "65532:65532" || !slices.Equal(c.Entrypoint, []string{"/manager"}) || len(c.Cmd)+len(c.Env) > 0 {
			t.Errorf("%s: user %q, entrypoint %q, cmd %q, env %q", platform, c.User, c.Entrypoint, c.Cmd, c.Env)
		}
		for key, want := range map[string]string{
			"title": "tiny", "version": "v1.2.3", "revision": "0123456", "licenses": "Apache-2.0",
			"source":      "https://github.com/providertoken/operator",
			"description": "Keeps provider tokens in Kubernetes Secrets fresh",
		} {
			if got := config.Config.Labels["org.opencontainers.image."+key]; got != want {
				t.Errorf("%s: label %s is %q, want %q", platform, key, got, want)
			}
		}
	}
}

func TestTheDockerfileSaysTheSame(t *testing.T) {
	content, err := os.ReadFile("../../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	q, err := parse([]string{"-tag", tag, "-o", "x"}, noEnv, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	stages := strings.Split(string(content), "\nFROM ")
	last := stages[len(stages)-1]
	if !strings.HasPrefix(last, "scratch\n") {
		t.Error("its last stage is not built from scratch")
	}
	for _, want := range []string{
		"USER " + user + "\n", `ENTRYPOINT ["/` + q.program + `"]` + "\n",
		"COPY LICENSE /licenses/LICENSE\n", "/" + q.program + " /" + q.program + "\n",
	} {
		if !strings.Contains(last, want) {
			t.Errorf("no %q", want)
		}
	}
	for key, value := range q.labels {
		switch key {
		case "org.opencontainers.image.version":
			value = "${VERSION}"
		case "org.opencontainers.image.revision":
			value = "${COMMIT}"
		}
		if line := key + `="` + value + `"`; !strings.Contains(last, line) {
			t.Errorf("no label %s", line)
		}
	}
	if n := strings.Count(last, "org.opencontainers.image."); n != len(q.labels) {
		t.Errorf("%d labels, want %d", n, len(q.labels))
	}
	if !strings.Contains(string(content), "go build -trimpath -buildvcs=false -ldflags=\"-s -w -buildid= -X main.version=${VERSION} -X main.commit=${COMMIT}\"") {
		t.Error("it compiles with other flags")
	}
}

func TestTheArchiveIsTheFirstPlatformUnderItsTag(t *testing.T) {
	root := tinyModule(t, "x")
	build(t, root, "-o", "image.tar", "-platform", "linux/arm64,linux/amd64")
	loaded, err := name.NewTag(tag)
	if err != nil {
		t.Fatal(err)
	}
	image, err := tarball.ImageFromPath(filepath.Join(root, "image.tar"), &loaded)
	if err != nil {
		t.Fatal(err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if config.Architecture != "arm64" {
		t.Errorf("it is of %s", config.Architecture)
	}
}

func TestARegistryGetsAllPlatformsAndLeadsFromEachToItsSBOM(t *testing.T) {
	server := httptest.NewServer(registry.New(registry.WithReferrersSupport(true), registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	pushed := strings.TrimPrefix(server.URL, "http://") + "/tiny:v1"
	build(t, tinyModule(t, "x"), "-tag", pushed, "-push", "-insecure", "-platform", both)
	ref, err := name.NewTag(pushed)
	if err != nil {
		t.Fatal(err)
	}
	index, err := remote.Index(ref)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if len(manifest.Manifests) != 2 || manifest.Annotations["org.opencontainers.image.licenses"] != "Apache-2.0" {
		t.Fatalf("pushed %+v", manifest)
	}
	for _, child := range manifest.Manifests {
		bom := pulledBOM(t, ref.Digest(child.Digest.String()))
		if got := bom.Metadata.Component.PackageURL; !strings.Contains(got, "goarch="+child.Platform.Architecture) {
			t.Errorf("the SBOM of %s is about %s", child.Platform, got)
		}
	}
}

// pulledBOM follows the referrers of an image.
func pulledBOM(t *testing.T, image name.Digest) cyclonedx.BOM {
	t.Helper()
	referrers, err := remote.Referrers(image)
	if err != nil {
		t.Fatal(err)
	}
	list, err := referrers.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if len(list.Manifests) != 1 {
		t.Fatalf("%s is referred to by %+v", image, list.Manifests)
	}
	artifact, err := remote.Image(image.Digest(list.Manifests[0].Digest.String()))
	if err != nil {
		t.Fatal(err)
	}
	if manifest, err := artifact.Manifest(); err != nil || manifest.ArtifactType != "application/vnd.cyclonedx+json" {
		t.Fatalf("%+v, %v", manifest, err)
	}
	layers, err := artifact.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatalf("%d layers, %v", len(layers), err)
	}
	content, err := layers[0].Compressed()
	if err != nil {
		t.Fatal(err)
	}
	var bom cyclonedx.BOM
	if err := json.NewDecoder(content).Decode(&bom); err != nil {
		t.Fatal(err)
	}
	return bom
}

func TestTheSBOMNamesWhatTheBinaryHolds(t *testing.T) {
	root := t.TempDir()
	q, err := parse([]string{"-tag", tag, "-o", filepath.Join(root, "self.tar"), "-root", ".", "-label", "a=b"}, noEnv, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(root, "self")
	if err := q.compile(v1.Platform{OS: "linux", Architecture: "amd64"}, binary); err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := q.describeContent(v1.Platform{OS: "linux", Architecture: "amd64"}, program)
	if err != nil {
		t.Fatal(err)
	}
	var bom cyclonedx.BOM
	if err := json.Unmarshal(raw, &bom); err != nil {
		t.Fatal(err)
	}
	if bom.Metadata.Timestamp != "" || !strings.HasPrefix(bom.SerialNumber, "urn:uuid:") {
		t.Errorf("dated %q, numbered %q", bom.Metadata.Timestamp, bom.SerialNumber)
	}
	named := map[string]cyclonedx.Component{}
	for _, c := range *bom.Components {
		named[c.Name] = c
	}
	for _, want := range []string{"std", "github.com/google/go-containerregistry", "github.com/CycloneDX/cyclonedx-go"} {
		c, found := named[want]
		if !found {
			t.Errorf("%s is missing", want)
			continue
		}
		if c.Version == "" || !strings.HasPrefix(c.PackageURL, "pkg:golang/"+want+"@") || (want != "std" && (c.Hashes == nil || len((*c.Hashes)[0].Value) != 64)) {
			t.Errorf("%+v", c)
		}
	}
	if _, found := named["gotest.tools/v3"]; found {
		t.Error("it names a module of tests")
	}
}

func TestMistakesAreToldBeforeAnythingIsBuilt(t *testing.T) {
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"-o", "x"}, "write a whole name"},
		{[]string{"-tag", "operator", "-o", "x"}, "write a whole name"},
		{[]string{"-tag", tag}, "-o, -oci or -push"},
		{[]string{"-tag", tag, "-o", "x", "-platform", "windows/amd64"}, "linux/amd64"},
		{[]string{"-tag", tag, "-o", "x", "-platform", "linux"}, "linux/amd64"},
		{[]string{"-tag", tag, "-o", "x", "more"}, "everything is a flag"},
	} {
		if _, err := parse(tc.args, noEnv, io.Discard); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%q: %v, want %q", tc.args, err, tc.want)
		}
	}
	if _, err := parse([]string{"-tag", tag, "-o", "x"}, func(string) string { return "yesterday" }, io.Discard); err == nil {
		t.Error("SOURCE_DATE_EPOCH=yesterday is accepted")
	}
}

func TestADirectoryThatIsNoLayoutIsNotReplaced(t *testing.T) {
	root := tinyModule(t, "x")
	err := run([]string{"-root", root, "-tag", tag, "-oci", "."}, noEnv, io.Discard, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "no OCI layout") {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(root, "main.go")); err != nil {
		t.Error(err)
	}
}
