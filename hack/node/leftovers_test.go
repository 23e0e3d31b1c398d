package main

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestLeftoversAreRunsThatNobodyHolds(t *testing.T) {
	live := func(run string) bool { return run == "20" }
	if got, want := leftovers([]string{"10", "20", "30", "notes", "-3"}, live), []string{"10", "30"}; !slices.Equal(got, want) {
		t.Errorf("leftovers are %v, want %v", got, want)
	}
}

func TestHierarchiesOfCgroups(t *testing.T) {
	const (
		root    = "24 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n"
		cpu     = "30 24 0:26 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n"
		memory  = "31 24 0:27 /box /sys/fs/cgroup/memory rw,relatime shared:9 master:2 - cgroup cgroup rw,memory\n"
		unified = "32 24 0:28 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n"
		v2      = "33 24 0:29 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
	)
	for _, c := range []struct {
		name, mountinfo string
		paths           []string
		onlyUnified     bool
	}{
		{"v1", root + cpu + memory, []string{"/sys/fs/cgroup/cpu", "/sys/fs/cgroup/memory"}, false},
		{"v1 with v2 beside", root + cpu + unified, []string{"/sys/fs/cgroup/cpu", "/sys/fs/cgroup/unified"}, false},
		{"v2", root + v2, []string{"/sys/fs/cgroup"}, true},
		{"damaged", "- cgroup\n\nx - \n", nil, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			all := hierarchies(c.mountinfo)
			var paths []string
			for _, h := range all {
				paths = append(paths, h.path)
			}
			if !slices.Equal(paths, c.paths) {
				t.Errorf("mounted at %v, want %v", paths, c.paths)
			}
			if got := onlyUnified(all); got != c.onlyUnified {
				t.Errorf("only cgroup v2: %v, want %v", got, c.onlyUnified)
			}
		})
	}
}

func TestMissingProgramsNameTheirPackages(t *testing.T) {
	m := machine{
		lookPath: func(program string) (string, error) {
			if strings.HasPrefix(program, "c") {
				return "", errors.New("not found")
			}
			return "/usr/bin/" + program, nil
		},
		exists: func(path string) bool { return path != "/usr/lib/cni/ptp" && strings.HasPrefix(path, "/usr/lib/cni/") },
	}
	programs, packages := m.missing()
	if want := []string{"CNI plugins", "containerd", "containerd-shim-runc-v2", "ctr"}; !slices.Equal(programs, want) {
		t.Errorf("missing %v, want %v", programs, want)
	}
	if want := []string{"containerd", "containernetworking-plugins"}; !slices.Equal(packages, want) {
		t.Errorf("packages %v, want %v", packages, want)
	}
}

func TestCNIPluginsAreFoundWhereAllAre(t *testing.T) {
	m := machine{exists: func(path string) bool {
		return path == "/usr/lib/cni/ptp" || strings.HasPrefix(path, "/opt/cni/bin/")
	}}
	if got, ok := m.cniPlugins(); !ok || got != "/opt/cni/bin" {
		t.Errorf("found %q, %v", got, ok)
	}
}
