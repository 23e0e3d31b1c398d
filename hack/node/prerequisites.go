package main

import (
	"fmt"
	"slices"
	"strings"
)

// machine is what a node needs beyond Kubernetes' own programs.
type machine struct {
	lookPath func(program string) (string, error)
	exists   func(path string) bool
}

// needed are programs, each with the package that has it on Debian and its like.
func needed() map[string]string {
	return map[string]string{
		"containerd":              "containerd",
		"containerd-shim-runc-v2": "containerd",
		"ctr":                     "containerd",
		"runc":                    "runc",
		"ip":                      "iproute2",
		"iptables":                "iptables",
		"mount":                   "mount",
	}
}

const cniPackage = "containernetworking-plugins"

// cniPlugins is the first usual directory that holds those of layout.cni.
func (m machine) cniPlugins() (string, bool) {
	for _, directory := range []string{"/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni"} {
		complete := true
		for _, plugin := range []string{"ptp", "host-local", "portmap", "loopback"} {
			complete = complete && m.exists(directory+"/"+plugin)
		}
		if complete {
			return directory, true
		}
	}
	return "", false
}

// missing programs, and the packages that have them.
func (m machine) missing() (programs, packages []string) {
	for program, pkg := range needed() {
		if _, err := m.lookPath(program); err != nil {
			programs, packages = append(programs, program), append(packages, pkg)
		}
	}
	if _, ok := m.cniPlugins(); !ok {
		programs, packages = append(programs, "CNI plugins"), append(packages, cniPackage)
	}
	slices.Sort(programs)
	slices.Sort(packages)
	return programs, slices.Compact(packages)
}

func missingError(programs, packages []string) error {
	return fmt.Errorf("this machine lacks %s, which a node needs; install the packages %s (these are Debian's names), "+
		"or use kind, or set KUBECONFIG to a cluster", strings.Join(programs, ", "), strings.Join(packages, " "))
}
