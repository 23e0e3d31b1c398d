package main

import (
	"bufio"
	"slices"
	"strconv"
	"strings"
)

const (
	// runsDirectory holds a directory for each run, named by the run's process.
	runsDirectory = "/var/lib/providertoken-node"
	cgroupPrefix  = "providertoken-node-"
)

// hierarchy is where a tree of cgroups is mounted.
type hierarchy struct {
	path    string
	unified bool // cgroup v2
}

// hierarchies reads them from the text of /proc/self/mountinfo.
func hierarchies(mountinfo string) []hierarchy {
	var all []hierarchy
	scanner := bufio.NewScanner(strings.NewReader(mountinfo))
	for scanner.Scan() {
		// 31 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw
		before, after, found := strings.Cut(scanner.Text(), " - ")
		mount, kind := strings.Fields(before), strings.Fields(after)
		if !found || len(mount) < 5 || len(kind) == 0 {
			continue
		}
		if kind[0] == "cgroup" || kind[0] == "cgroup2" {
			all = append(all, hierarchy{path: mount[4], unified: kind[0] == "cgroup2"})
		}
	}
	return all
}

// onlyUnified tells a machine on cgroup v2 from one on v1, where v2 may be mounted
// as well but has no controllers.
func onlyUnified(all []hierarchy) bool {
	return !slices.ContainsFunc(all, func(h hierarchy) bool { return !h.unified })
}

// leftovers are the runs, by the names of their directories, that no living process
// holds. Cgroups alone do not count: where a container shares its host's, they may be
// those of a run whose directory cannot be seen from here.
func leftovers(directories []string, live func(run string) bool) []string {
	var dead []string
	for _, name := range directories {
		if isRun(name) && !live(name) {
			dead = append(dead, name)
		}
	}
	return dead
}

// isRun tells a run's name from other things that may lie beside it.
func isRun(name string) bool {
	pid, err := strconv.Atoi(name)
	return err == nil && pid > 0
}
