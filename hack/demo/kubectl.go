package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// kubectl runs the binary of the assets as the admin of one cluster.
type kubectl struct{ path, kubeconfig string }

func (k kubectl) run(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, k.path, append([]string{"--kubeconfig=" + k.kubeconfig}, args...)...)
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("kubectl %s: %w\n%s", strings.Join(args, " "), err, output)
	}
	return nil
}

// renderManifests copies the YAML files of a directory, with every ${NAME} in
// them replaced by its value as a quoted string.
func renderManifests(from, to string, values map[string]string) error {
	files, err := filepath.Glob(filepath.Join(from, "*.yaml"))
	if err != nil || len(files) == 0 {
		return fmt.Errorf("no manifests in %s", from)
	}
	if err := os.MkdirAll(to, 0o700); err != nil {
		return fmt.Errorf("making a directory for manifests: %w", err)
	}
	for _, file := range files {
		template, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("reading a manifest: %w", err)
		}
		rendered, err := expand(string(template), values)
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		if err := os.WriteFile(filepath.Join(to, filepath.Base(file)), []byte(rendered), 0o600); err != nil {
			return fmt.Errorf("writing a manifest: %w", err)
		}
	}
	return nil
}

func expand(template string, values map[string]string) (string, error) {
	var unknown []string
	out := os.Expand(template, func(name string) string {
		value, ok := values[name]
		if !ok {
			unknown = append(unknown, name)
		}
		return fmt.Sprintf("%q", value) // a Go string of printable text and \n is a YAML string
	})
	if len(unknown) > 0 {
		return "", fmt.Errorf("nothing is known by the names %s", strings.Join(unknown, ", "))
	}
	return out, nil
}
