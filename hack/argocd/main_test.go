package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestThePatchOfArgoCDIsMadeFromTheLuaFiles(t *testing.T) {
	directory := filepath.Join("..", "..", "config", "argocd")
	want, err := os.ReadFile(filepath.Join(directory, "argocd-cm.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if err := render(&got, directory); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("it is stale: run go run ./hack/argocd config/argocd >config/argocd/argocd-cm.yaml\n%s", diff)
	}
}

func TestADirectoryWithoutLuaFilesIsAnError(t *testing.T) {
	if err := render(&bytes.Buffer{}, t.TempDir()); err == nil {
		t.Error("an empty patch would take health and actions away from everybody who applies it")
	}
}
