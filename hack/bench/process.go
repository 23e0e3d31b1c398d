package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of CPU times in /proc (USER_HZ, which Linux shows as 100 everywhere).
const tick = 10 * time.Millisecond

// cpuOf is the CPU time that a process has used.
func cpuOf(pid int) (time.Duration, error) {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("reading the CPU time of a process: %w", err)
	}
	return parseStat(content)
}

// parseStat reads utime and stime, the 14th and 15th fields; see proc_pid_stat(5).
func parseStat(stat []byte) (time.Duration, error) {
	// The second field, the name in parentheses, may hold anything.
	end := bytes.LastIndexByte(stat, ')')
	fields := strings.Fields(string(stat[end+1:]))
	if end < 0 || len(fields) < 13 {
		return 0, fmt.Errorf("reading /proc: %d fields", len(fields))
	}
	user, err := strconv.ParseInt(fields[11], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("reading /proc: %w", err)
	}
	system, err := strconv.ParseInt(fields[12], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("reading /proc: %w", err)
	}
	return time.Duration(user+system) * tick, nil
}

// residentOf is the resident memory of a process, now and at most so far, in MiB.
func residentOf(pid int) (now, peak float64, err error) {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0, fmt.Errorf("reading the memory of a process: %w", err)
	}
	return statusMiB(content, "VmRSS:"), statusMiB(content, "VmHWM:"), nil
}

// statusMiB reads a line such as "VmRSS:   1234 kB"; see proc_pid_status(5).
func statusMiB(status []byte, name string) float64 {
	for line := range strings.Lines(string(status)) {
		if rest, is := strings.CutPrefix(line, name); is {
			kib, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 64)
			if err != nil {
				return 0
			}
			return kib / 1024
		}
	}
	return 0
}

// childrenNamed finds children of this process by the name of their program.
func childrenNamed(name string) []int {
	found, _ := filepath.Glob("/proc/[0-9]*/stat")
	var pids []int
	for _, file := range found {
		stat, err := os.ReadFile(file)
		if err != nil {
			continue // it ended meanwhile
		}
		open, end := bytes.IndexByte(stat, '('), bytes.LastIndexByte(stat, ')')
		fields := strings.Fields(string(stat[end+1:]))
		if open < 0 || end < open || len(fields) < 2 || string(stat[open+1:end]) != name || fields[1] != strconv.Itoa(os.Getpid()) {
			continue
		}
		if pid, err := strconv.Atoi(strings.TrimSpace(string(stat[:open]))); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// machine tells what this was measured on.
func machine() string {
	model := "unknown CPU"
	if content, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(content)) {
			if name, value, found := strings.Cut(line, ":"); found && strings.TrimSpace(name) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	return model
}

// load is the load average of the last minute.
func load() float64 {
	content, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(content), " ")
	n, _ := strconv.ParseFloat(first, 64)
	return n
}
