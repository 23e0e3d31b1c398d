//go:build recipes

package recipes

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// image of one static program. What makes it unlike any other is in a layer, so that
// nothing of it can be on a node that never pulled it.
func (c cluster) image(t *testing.T, program, unlike string, config v1.Config) v1.Image {
	t.Helper()
	binary, err := os.ReadFile(filepath.Join(c.build, program))
	if err != nil {
		t.Fatal(err)
	}
	var content bytes.Buffer
	w := tar.NewWriter(&content)
	for _, file := range []struct {
		name string
		mode int64
		text []byte
	}{{program, 0o755, binary}, {"unlike", 0o644, []byte(unlike)}} {
		if err := w.WriteHeader(&tar.Header{Name: file.name, Mode: file.mode, Size: int64(len(file.text)), Format: tar.FormatUSTAR}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(file.text); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content.Bytes())), nil })
	if err != nil {
		t.Fatal(err)
	}
	image, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		t.Fatal(err)
	}
	file, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	file = file.DeepCopy()
	file.OS, file.Architecture = "linux", runtime.GOARCH
	config.Env = append(config.Env, "PATH=/")
	config.User = "65532:65532"
	file.Config = config
	if image, err = mutate.ConfigFile(image, file); err != nil {
		t.Fatal(err)
	}
	return image
}

// reader is the workload of the end-to-end suite, told all it needs by its image, so
// that the recipe's manifest says no more than a reader's would.
func (c cluster) reader(t *testing.T, p provider, unlike string, args ...string) v1.Image {
	t.Helper()
	return c.image(t, "reader", unlike, v1.Config{
		Entrypoint: []string{"/reader"}, Cmd: append(args, "-url="+p.resource), Env: []string{"CA_BUNDLE=" + p.bundle},
	})
}

// preload puts an image onto the node, as if it had been pulled.
func (c cluster) preload(t *testing.T, tag string, image v1.Image) {
	t.Helper()
	reference, err := name.NewTag(tag)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "image.tar")
	if err := tarball.WriteToFile(file, reference, image); err != nil {
		t.Fatal(fmt.Errorf("writing %s: %w", tag, err))
	}
	c.load(t, file)
}
