// Command krew builds the archives of the kubectl plugin for every platform, and the
// manifest that krew's index wants of it, with their checksums. The same sources make
// the same archives, byte for byte.
package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"sigs.k8s.io/yaml"
)

//go:embed providertoken.yaml
var frame []byte

const releases = "https://github.com/providertoken/operator/releases/download"

// platform that kubectl runs on.
type platform struct{ os, arch string }

func platforms() []platform {
	var all []platform
	for _, system := range []string{"darwin", "linux", "windows"} {
		for _, arch := range []string{"amd64", "arm64"} {
			all = append(all, platform{system, arch})
		}
	}
	return all
}

// binary is what the program is called there.
func (p platform) binary() string {
	if p.os == "windows" {
		return "kubectl-providertoken.exe"
	}
	return "kubectl-providertoken"
}

// archive is what its archive is called.
func (p platform) archive() string {
	if p.os == "windows" {
		return fmt.Sprintf("kubectl-providertoken_%s_%s.zip", p.os, p.arch)
	}
	return fmt.Sprintf("kubectl-providertoken_%s_%s.tar.gz", p.os, p.arch)
}

func main() {
	version := flag.String("version", "", "version, such as v1.2.3 (required)")
	out := flag.String("o", "bin/krew", "folder for the archives and the manifest")
	flag.Parse()
	if err := run(context.Background(), *version, *out); err != nil {
		fmt.Fprintln(os.Stderr, "krew:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, version, out string) error {
	if version == "" {
		return errors.New("-version is missing, such as v1.2.3")
	}
	if err := os.MkdirAll(out, 0o750); err != nil {
		return err
	}
	license, err := os.ReadFile("LICENSE")
	if err != nil {
		return fmt.Errorf("run this at the root of the repository: %w", err)
	}
	sums := map[platform]string{}
	for _, p := range platforms() {
		program, err := build(ctx, p, version)
		if err != nil {
			return err
		}
		packed, err := pack(p, []file{{p.binary(), program, 0o755}, {"LICENSE", license, 0o644}})
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(out, p.archive()), packed, 0o600); err != nil {
			return err
		}
		sum := sha256.Sum256(packed)
		sums[p] = hex.EncodeToString(sum[:])
		fmt.Printf("%s  %s (%d MiB)\n", sums[p], p.archive(), len(packed)>>20)
	}
	text, err := manifest(version, sums)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(out, "providertoken.yaml"), text, 0o600)
}

// build the program for a platform.
func build(ctx context.Context, p platform, version string) ([]byte, error) {
	folder, err := os.MkdirTemp("", "krew-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(folder) }()
	program := filepath.Join(folder, p.binary())
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -X main.version="+version, "-o", program, "./cmd/kubectl-providertoken")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+p.os, "GOARCH="+p.arch)
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("building for %s/%s: %w", p.os, p.arch, err)
	}
	return os.ReadFile(program)
}

type file struct {
	name string
	data []byte
	mode int64
}

// pack files, with nothing of the day and the machine in it.
func pack(p platform, files []file) ([]byte, error) {
	if p.os == "windows" {
		return packZip(files)
	}
	var b bytes.Buffer
	compressed, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	w := tar.NewWriter(compressed)
	for _, f := range files {
		if err := w.WriteHeader(&tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.data)), ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR}); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.data); err != nil {
			return nil, err
		}
	}
	err = errors.Join(w.Close(), compressed.Close())
	return b.Bytes(), err
}

func packZip(files []file) ([]byte, error) {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, f := range files {
		h := &zip.FileHeader{Name: f.name, Method: zip.Deflate}
		h.SetMode(os.FileMode(f.mode)) //nolint:gosec // 0o644 and 0o755
		entry, err := w.CreateHeader(h)
		if err != nil {
			return nil, err
		}
		if _, err := entry.Write(f.data); err != nil {
			return nil, err
		}
	}
	err := w.Close()
	return b.Bytes(), err
}

// manifest of the plugin, in the form of krew's index.
func manifest(version string, sums map[platform]string) ([]byte, error) {
	var m map[string]any
	if err := yaml.UnmarshalStrict(frame, &m); err != nil {
		return nil, err
	}
	spec, ok := m["spec"].(map[string]any)
	if !ok {
		return nil, errors.New("providertoken.yaml has no spec")
	}
	spec["version"] = version
	var entries []any
	for _, p := range platforms() {
		entries = append(entries, map[string]any{
			"selector": map[string]any{"matchLabels": map[string]any{"os": p.os, "arch": p.arch}},
			"uri":      releases + "/" + version + "/" + p.archive(),
			"sha256":   sums[p],
			"bin":      p.binary(),
			"files":    []any{map[string]any{"from": p.binary(), "to": "."}, map[string]any{"from": "LICENSE", "to": "."}},
		})
	}
	spec["platforms"] = entries
	return yaml.Marshal(m)
}
