package main

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// user of the image: the number that distroless images gave to "nonroot". A
// number, since runAsNonRoot cannot judge a name.
const user = "65532:65532"

// built is the image of one platform.
type built struct {
	platform v1.Platform
	image    v1.Image
	bom      []byte
	unpacked int
}

func (q request) build() ([]built, error) {
	scratch, err := os.MkdirTemp("", "providertoken-image-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(scratch) }()
	licence, err := os.ReadFile(filepath.Join(q.root, "LICENSE"))
	if err != nil {
		return nil, fmt.Errorf("every image holds its licence: %w", err)
	}
	all := make([]built, 0, len(q.platforms))
	for _, platform := range q.platforms {
		binary := filepath.Join(scratch, platform.Architecture)
		if err := q.compile(platform, binary); err != nil {
			return nil, err
		}
		one, err := q.assemble(platform, binary, licence)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", text(platform), err)
		}
		all = append(all, one)
	}
	return all, nil
}

// compile builds the binary such that nothing of this machine gets into it.
func (q request) compile(platform v1.Platform, binary string) error {
	args := []string{
		"build", "-trimpath", "-buildvcs=false", "-mod=readonly",
		"-ldflags", fmt.Sprintf("-s -w -buildid= -X main.version=%s -X main.commit=%s", q.version, q.commit),
		"-o", binary,
	}
	if q.overlay != "" {
		args = append(args, "-overlay", q.overlay)
	}
	cmd := exec.Command("go", append(args, "./"+q.pkg)...)
	cmd.Dir = q.root
	// Later values win over those that the user has in the environment.
	cmd.Env = append(os.Environ(),
		"CGO_ENABLED=0", "GOOS="+platform.OS, "GOARCH="+platform.Architecture,
		"GOAMD64=v1", "GOARM64=v8.0", "GOFLAGS=", "GOEXPERIMENT=", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building %s for %s: %w\n%s", q.pkg, text(platform), err, bytes.TrimSpace(out))
	}
	return nil
}

func (q request) assemble(platform v1.Platform, binary string, licence []byte) (built, error) {
	program, err := os.ReadFile(binary)
	if err != nil {
		return built{}, err
	}
	content, err := q.pack(map[string]file{
		"licenses":         {mode: 0o755},
		"licenses/LICENSE": {mode: 0o644, content: licence},
		q.program:          {mode: 0o755, content: program},
	})
	if err != nil {
		return built{}, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(content)), nil
	}, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return built{}, err
	}
	image, err := q.configure(platform, layer)
	if err != nil {
		return built{}, err
	}
	bom, err := q.describeContent(platform, program)
	if err != nil {
		return built{}, err
	}
	return built{platform: platform, image: image, bom: bom, unpacked: len(licence) + len(program)}, nil
}

// file in the image; without content it is a directory.
type file struct {
	mode    int64
	content []byte
}

// pack writes an uncompressed tar: in order of names, owned by root, undated.
func (q request) pack(files map[string]file) ([]byte, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, path := range sorted(files) {
		f := files[path]
		header := &tar.Header{
			Typeflag: tar.TypeReg, Name: path, Mode: f.mode, Size: int64(len(f.content)), ModTime: q.dated(), Format: tar.FormatUSTAR,
		}
		if f.content == nil {
			header.Typeflag, header.Name = tar.TypeDir, path+"/"
		}
		if err := w.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.content); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// configure says what the Dockerfile says with USER, ENTRYPOINT and LABEL.
func (q request) configure(platform v1.Platform, layer v1.Layer) (v1.Image, error) {
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	image, err := mutate.Append(image, mutate.Addendum{Layer: layer, History: v1.History{
		Created: v1.Time{Time: q.dated()}, CreatedBy: "hack/image", Comment: "/" + q.program + " and its licence",
	}})
	if err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = platform.OS, platform.Architecture
	config.Created = v1.Time{Time: q.dated()}
	config.Config = v1.Config{User: user, Entrypoint: []string{"/" + q.program}, WorkingDir: "/", Labels: q.labels}
	return mutate.ConfigFile(image, config)
}

// describe tells a person what was built.
func (b built) describe(out io.Writer, tag name.Tag) error {
	digest, err := b.image.Digest()
	if err != nil {
		return err
	}
	compressed, err := b.image.Size()
	if err != nil {
		return err
	}
	layers, err := b.image.Layers()
	if err != nil {
		return err
	}
	for _, layer := range layers {
		size, err := layer.Size()
		if err != nil {
			return err
		}
		compressed += size
	}
	_, err = fmt.Fprintf(out, "%s %s %s: %s compressed, %s unpacked\n",
		tag, text(b.platform), digest, mebibytes(compressed), mebibytes(int64(b.unpacked)))
	return err
}

func mebibytes(n int64) string {
	return strings.TrimSuffix(fmt.Sprintf("%.1f", float64(n)/(1<<20)), ".0") + " MiB"
}
