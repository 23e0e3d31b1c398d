package main

import (
	"path/filepath"
	"strconv"
	"strings"
)

// endedChild reads /proc/<pid>/stat: the process's id, if it is a child of parent
// that has ended and waits to be reaped.
func endedChild(stat string, parent int) (pid int, ok bool) {
	// 4711 (any (name)) Z 1 …
	open, closed := strings.IndexByte(stat, '('), strings.LastIndexByte(stat, ')')
	if open < 0 || closed < open {
		return 0, false
	}
	pid, err := strconv.Atoi(strings.TrimSpace(stat[:open]))
	fields := strings.Fields(stat[closed+1:])
	if err != nil || len(fields) < 2 {
		return 0, false
	}
	return pid, fields[0] == "Z" && fields[1] == strconv.Itoa(parent)
}

// podLogName makes one name of the path of a container's log,
// <namespace>_<pod>_<uid>/<container>/<restart>.log; a part of the uid stays,
// because a StatefulSet's pods have the same name again.
func podLogName(path string) string {
	restart := filepath.Base(path)
	container := filepath.Base(filepath.Dir(path))
	pod := filepath.Base(filepath.Dir(filepath.Dir(path)))
	if at := strings.LastIndexByte(pod, '_'); at >= 0 && len(pod) > at+9 {
		pod = pod[:at+9]
	}
	return pod + "_" + container + "_" + restart
}
