package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

const (
	bomType = types.MediaType("application/vnd.cyclonedx+json")
	// emptyType is the config of an artifact that needs none (OCI image-spec 1.1).
	emptyType = types.MediaType("application/vnd.oci.empty.v1+json")
)

// deliver writes and pushes what was built to wherever it was asked for.
func (q request) deliver(all []built, out io.Writer) error {
	if q.archive != "" {
		if err := q.writeArchive(all[0]); err != nil {
			return fmt.Errorf("writing %s: %w", q.archive, err)
		}
	}
	if q.layout == "" && !q.push {
		return nil
	}
	index, err := q.index(all)
	if err != nil {
		return err
	}
	digest, err := index.Digest()
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(out, "%s index %s\n", q.tag, digest); err != nil {
		return err
	}
	if q.layout != "" {
		if err := q.writeLayout(index, all); err != nil {
			return fmt.Errorf("writing %s: %w", q.layout, err)
		}
	}
	if q.push {
		if err := q.pushAll(index, all); err != nil {
			return fmt.Errorf("pushing %s: %w", q.tag, err)
		}
	}
	return nil
}

func (q request) writeArchive(b built) error {
	if err := os.MkdirAll(filepath.Dir(q.archive), 0o755); err != nil {
		return err
	}
	if err := tarball.WriteToFile(q.archive, q.tag, b.image); err != nil {
		return err
	}
	return os.WriteFile(strings.TrimSuffix(q.archive, ".tar")+".cdx.json", b.bom, 0o644)
}

// index lists the images of all platforms.
func (q request) index(all []built) (v1.ImageIndex, error) {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, b := range all {
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: b.image, Descriptor: v1.Descriptor{Platform: &b.platform}})
	}
	annotated, ok := mutate.Annotations(index, q.annotations()).(v1.ImageIndex)
	if !ok {
		return nil, fmt.Errorf("annotating an index gave %T", annotated)
	}
	return annotated, nil
}

// writeLayout replaces the directory.
func (q request) writeLayout(index v1.ImageIndex, all []built) error {
	if err := clearLayout(q.layout); err != nil {
		return err
	}
	path, err := layout.Write(q.layout, empty.Index)
	if err != nil {
		return err
	}
	named := layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": q.tag.TagStr()})
	if err := path.AppendIndex(index, named); err != nil {
		return err
	}
	for _, b := range all {
		referrer, err := b.referrer()
		if err != nil {
			return err
		}
		if err := path.AppendImage(referrer); err != nil {
			return err
		}
	}
	return nil
}

// clearLayout removes an earlier layout, and nothing else.
func clearLayout(directory string) error {
	entries, err := os.ReadDir(directory)
	if os.IsNotExist(err) || err == nil && len(entries) == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(directory, "oci-layout")); err != nil {
		return fmt.Errorf("it exists and is no OCI layout: remove it, or choose another directory")
	}
	return os.RemoveAll(directory)
}

// pushAll pushes the referrers last: they point at what must be there.
func (q request) pushAll(index v1.ImageIndex, all []built) error {
	ref := q.tag
	if q.insecure {
		var err error
		if ref, err = name.NewTag(q.tag.Name(), name.Insecure); err != nil {
			return err
		}
	}
	keys := remote.WithAuthFromKeychain(authn.DefaultKeychain)
	if err := remote.WriteIndex(ref, index, keys); err != nil {
		return err
	}
	for _, b := range all {
		referrer, err := b.referrer()
		if err != nil {
			return err
		}
		digest, err := referrer.Digest()
		if err != nil {
			return err
		}
		if err := remote.Write(ref.Digest(digest.String()), referrer, keys); err != nil {
			return fmt.Errorf("the SBOM of %s: %w", text(b.platform), err)
		}
	}
	return nil
}

// referrer wraps the SBOM as an artifact whose subject is the image (OCI
// image-spec 1.1), as scanners look for it.
func (b built) referrer() (v1.Image, error) {
	subject, err := partial.Descriptor(b.image)
	if err != nil {
		return nil, err
	}
	bom, none := static.NewLayer(b.bom, bomType), static.NewLayer([]byte("{}"), emptyType)
	described, err := partial.Descriptor(bom)
	if err != nil {
		return nil, err
	}
	config, err := partial.Descriptor(none)
	if err != nil {
		return nil, err
	}
	described.Annotations = map[string]string{
		"org.opencontainers.image.title": "sbom-" + b.platform.OS + "-" + b.platform.Architecture + ".cdx.json",
	}
	manifest, err := json.Marshal(v1.Manifest{
		SchemaVersion: 2, MediaType: types.OCIManifestSchema1, ArtifactType: string(bomType),
		Config: *config, Layers: []v1.Descriptor{*described},
		Subject: &v1.Descriptor{MediaType: subject.MediaType, Size: subject.Size, Digest: subject.Digest},
	})
	if err != nil {
		return nil, err
	}
	return partial.CompressedToImage(&artifact{manifest: manifest, layer: bom})
}

// artifact is a manifest with an empty config and one layer.
type artifact struct {
	manifest []byte
	layer    v1.Layer
}

func (a *artifact) MediaType() (types.MediaType, error) { return types.OCIManifestSchema1, nil }

func (a *artifact) RawManifest() ([]byte, error) { return bytes.Clone(a.manifest), nil }

func (a *artifact) RawConfigFile() ([]byte, error) { return []byte("{}"), nil }

func (a *artifact) LayerByDigest(h v1.Hash) (partial.CompressedLayer, error) {
	digest, err := a.layer.Digest()
	if err != nil {
		return nil, err
	}
	if h != digest {
		return nil, fmt.Errorf("the SBOM's artifact has no layer %s", h)
	}
	return a.layer, nil
}
