package main

import (
	"errors"
	"os"
	"runtime"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func TestControlPlaneServesBothUsersAndLeavesNoProcessBehind(t *testing.T) {
	assets := os.Getenv("KUBEBUILDER_ASSETS")
	if assets == "" {
		t.Skip("KUBEBUILDER_ASSETS is not set: run make test")
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	plane, err := startControlPlane(t.Context(), assets, t.TempDir())
	if err != nil {
		t.Fatal(errors.Join(err, plane.stop()))
	}
	config, err := plane.rest()
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.New(config, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var namespaces corev1.NamespaceList
	if err := c.List(t.Context(), &namespaces); err != nil {
		t.Errorf("the admin lists namespaces: %v", err)
	}
	if err := plane.stop(); err != nil {
		t.Error(err)
	}
	for _, p := range plane.processes {
		if err := syscall.Kill(-p.cmd.Process.Pid, 0); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("%s: a process of its group is left: %v", p.name, err)
		}
	}
}
