package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

const (
	// commandPatience is how long the command may take to end after a signal.
	commandPatience = 30 * time.Second
	// cgroupPatience is how long the kernel may take to notice that a cgroup is empty.
	cgroupPatience = 20 * time.Second
)

func run(o options) (int, error) {
	if o.inside != "" {
		return inside(o)
	}
	return outside(o)
}

// outside prepares the machine, starts this program again in namespaces of its own,
// and removes what the kernel leaves.
func outside(o options) (code int, err error) {
	if os.Geteuid() != 0 {
		return 1, errors.New("a node needs root: run this with sudo, or use kind, or set KUBECONFIG to a cluster")
	}
	// Not every root's PATH has the directories of ip, iptables and runc.
	if err := os.Setenv("PATH", os.Getenv("PATH")+":/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin"); err != nil {
		return 1, fmt.Errorf("extending PATH: %w", err)
	}
	if err := os.MkdirAll(o.logs, 0o750); err != nil {
		return 1, fmt.Errorf("making the directory of logs: %w", err)
	}
	say("logs are in %s", o.logs)
	defer say("logs are in %s", o.logs)
	plugins, err := prepareMachine(o.logs)
	if err != nil {
		return 1, err
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	c, err := newCell()
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, c.remove()) }()

	// Linux kills the child when this thread ends, which therefore must not before the process does.
	runtime.LockOSThread()
	args := append([]string{
		"-assets=" + o.assets, "-logs=" + o.logs, "-pause=" + o.pause, "-keep=" + strconv.FormatBool(o.keep),
		"-inside=" + c.directory(), "-cni-plugins=" + plugins, "-cgroup=" + c.cgroup(), "--",
	}, o.command...)
	cmd := exec.Command("/proc/self/exe", args...) //nolint:noctx // ended by signals, below
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET,
		Pdeathsig:  syscall.SIGKILL,
	}
	if err := cmd.Start(); err != nil {
		return 1, fmt.Errorf("entering namespaces: %w", err)
	}
	if err := c.writeEnter(cmd.Process.Pid); err != nil {
		return 1, errors.Join(err, cmd.Process.Kill(), cmd.Wait())
	}
	return attend(cmd, signals), nil
}

// attend waits for the inner process, and passes signals on. It ends as that one does.
func attend(cmd *exec.Cmd, signals <-chan os.Signal) int {
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // its state has all that matters
		close(ended)
	}()
	var first syscall.Signal
	var patience <-chan time.Time
	for {
		select {
		case s := <-signals:
			if first != 0 {
				_ = cmd.Process.Kill()
				continue
			}
			first, _ = s.(syscall.Signal)
			say("got %q: ending the command and the cluster; once more to end them at once", s)
			// Ctrl-C has reached the command already, and a second one would tell it to
			// skip its own cleanup.
			if s != syscall.SIGINT || !foreground() {
				_ = cmd.Process.Signal(syscall.SIGTERM)
			}
			patience = time.After(commandPatience + 10*time.Second)
		case <-patience:
			_ = cmd.Process.Kill()
		case <-ended:
			code := exitCode(cmd.ProcessState)
			if code == 0 && first != 0 {
				code = 128 + int(first)
			}
			return code
		}
	}
}

// foreground tells whether a terminal sends its Ctrl-C to this process's group.
func foreground() bool {
	terminal, err := os.Open("/dev/tty")
	if err != nil {
		return false
	}
	defer func() { _ = terminal.Close() }()
	var group int32
	_, _, failed := syscall.Syscall(syscall.SYS_IOCTL, terminal.Fd(), syscall.TIOCGPGRP, uintptr(unsafe.Pointer(&group))) //nolint:gosec // no other way without a further module
	return failed == 0 && int(group) == syscall.Getpgrp()
}

// exitCode is as a shell has it.
func exitCode(state *os.ProcessState) int {
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return state.ExitCode()
}

// prepareMachine returns the directory of the CNI plugins. Packages that are missing
// it installs where it knows how.
func prepareMachine(logs string) (cniPlugins string, err error) {
	m := machine{lookPath: exec.LookPath, exists: func(path string) bool {
		_, err := os.Stat(path)
		return err == nil
	}}
	programs, packages := m.missing()
	if len(programs) > 0 {
		if _, err := exec.LookPath("apt-get"); err != nil {
			return "", missingError(programs, packages)
		}
		say("installing the packages %s with apt-get, for %s", strings.Join(packages, " "), strings.Join(programs, ", "))
		if err := aptInstall(filepath.Join(logs, "apt-get.log"), packages); err != nil {
			return "", errors.Join(missingError(programs, packages), err)
		}
		if programs, packages = m.missing(); len(programs) > 0 {
			return "", missingError(programs, packages)
		}
	}
	plugins, _ := m.cniPlugins()
	return plugins, nil
}

func aptInstall(logFile string, packages []string) error {
	log, err := os.Create(logFile)
	if err != nil {
		return fmt.Errorf("creating a log: %w", err)
	}
	defer func() { _ = log.Close() }()
	aptGet := func(args ...string) error {
		cmd := exec.Command("apt-get", args...) //nolint:noctx // a package manager is not to be cut short
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		cmd.Stdout, cmd.Stderr = log, log
		return cmd.Run()
	}
	install := append([]string{"install", "-y", "-q", "--no-install-recommends"}, packages...)
	if aptGet(install...) == nil {
		return nil
	}
	// The machine's list of packages may be old, or empty as in a fresh container.
	if err := errors.Join(aptGet("update", "-q"), aptGet(install...)); err != nil {
		return fmt.Errorf("apt-get failed: %w, see %s", err, logFile)
	}
	return nil
}

// cell is what a run has on the machine beside its namespaces: a directory, cgroups,
// and a lock that tells others that it lives.
type cell struct {
	run  string
	lock *os.File
}

// newCell removes what dead runs left and makes a new one.
func newCell() (*cell, error) {
	if err := os.MkdirAll(runsDirectory, 0o700); err != nil {
		return nil, fmt.Errorf("making the directory of runs: %w", err)
	}
	// So that nobody takes a run for dead that has a directory and no lock yet.
	all, err := lockFile(filepath.Join(runsDirectory, "lock"), syscall.LOCK_EX)
	if err != nil {
		return nil, err
	}
	defer func() { _ = all.Close() }()
	if err := sweep(); err != nil {
		return nil, err
	}
	c := &cell{run: strconv.Itoa(os.Getpid())}
	if err := os.MkdirAll(c.directory(), 0o700); err != nil {
		return nil, fmt.Errorf("making the run's directory: %w", err)
	}
	if c.lock, err = lockFile(filepath.Join(c.directory(), "lock"), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, err
	}
	if err := makeCgroups(c.cgroup()); err != nil {
		return nil, errors.Join(err, c.remove())
	}
	return c, nil
}

func (c *cell) directory() string { return filepath.Join(runsDirectory, c.run) }
func (c *cell) cgroup() string    { return cgroupPrefix + c.run }

// writeEnter makes the script by which somebody else gets a shell in the cluster.
func (c *cell) writeEnter(pid int) error {
	script := fmt.Sprintf("#!/bin/sh\n# Runs a command in the cluster: enter COMMAND…\n"+
		"exec nsenter --target %d --mount --net --pid --wd=\"$PWD\" -- %s/environment \"$@\"\n", pid, c.directory())
	return writeScript(filepath.Join(c.directory(), "enter"), script)
}

// remove is called when no process of the run lives any more.
func (c *cell) remove() error {
	err := removeRun(c.run)
	return errors.Join(err, c.lock.Close())
}

func lockFile(path string, how int) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening a lock: %w", err)
	}
	if err := syscall.Flock(int(file.Fd()), how); err != nil {
		return nil, errors.Join(fmt.Errorf("locking %s: %w", path, err), file.Close())
	}
	return file, nil
}

// sweep removes what runs left that were killed.
func sweep() error {
	directories, err := names(runsDirectory)
	if err != nil {
		return err
	}
	for _, run := range leftovers(directories, alive) {
		say("removing what the run %s left", run)
		if err := removeRun(run); err != nil {
			return err
		}
	}
	return nil
}

// alive tells whether a process holds the run's lock.
func alive(run string) bool {
	file, err := os.Open(filepath.Join(runsDirectory, run, "lock"))
	if err != nil {
		return false
	}
	defer func() { _ = file.Close() }()
	return syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) != nil
}

func removeRun(run string) error {
	all, err := mountedHierarchies()
	if err != nil {
		return err
	}
	for _, h := range all {
		err = errors.Join(err, removeCgroup(filepath.Join(h.path, cgroupPrefix+run)))
	}
	if err != nil {
		return err // the directory stays, by which the next start finds the rest
	}
	if err := os.RemoveAll(filepath.Join(runsDirectory, run)); err != nil {
		return fmt.Errorf("removing the run's directory: %w", err)
	}
	return nil
}

func names(directory string) ([]string, error) {
	entries, err := os.ReadDir(directory)
	if err != nil {
		return nil, fmt.Errorf("looking for what earlier runs left: %w", err)
	}
	var all []string
	for _, entry := range entries {
		if entry.IsDir() {
			all = append(all, entry.Name())
		}
	}
	return all, nil
}

func mountedHierarchies() ([]hierarchy, error) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("looking for cgroups: %w", err)
	}
	return hierarchies(string(text)), nil
}

// makeCgroups makes the one below which the kubelet puts all pods.
func makeCgroups(name string) error {
	all, err := mountedHierarchies()
	if err != nil {
		return err
	}
	if len(all) == 0 {
		return errors.New("no cgroups are mounted at /sys/fs/cgroup, and a node needs them")
	}
	if onlyUnified(all) {
		if err := delegate(all[0].path); err != nil {
			return err
		}
	}
	for _, h := range all {
		if err := os.Mkdir(filepath.Join(h.path, name), 0o750); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("making a cgroup: %w", err)
		}
	}
	return nil
}

// delegate makes the root's controllers available below it, on cgroup v2.
func delegate(root string) error {
	available, err := os.ReadFile(filepath.Join(root, "cgroup.controllers"))
	if err != nil {
		return fmt.Errorf("reading the controllers of cgroups: %w", err)
	}
	for _, controller := range []string{"cpu", "cpuset", "memory", "pids", "io", "hugetlb"} {
		if !slices.Contains(strings.Fields(string(available)), controller) {
			continue
		}
		if err := os.WriteFile(filepath.Join(root, "cgroup.subtree_control"), []byte("+"+controller), 0o600); err != nil {
			return fmt.Errorf("switching on the cgroup controller %s: %w; in a container, run this in its host's cgroup namespace", controller, err)
		}
	}
	return nil
}

// removeCgroup removes a cgroup and all below it, as soon as nothing runs there. It
// kills nothing: the end of the run's process namespace does.
func removeCgroup(path string) error {
	deadline := time.Now().Add(cgroupPatience)
	for {
		var below []string
		err := filepath.WalkDir(path, func(p string, entry fs.DirEntry, err error) error {
			if err == nil && entry.IsDir() {
				below = append(below, p)
			}
			return nil // a cgroup that went away meanwhile is no error
		})
		for _, p := range slices.Backward(below) {
			err = errors.Join(err, os.Remove(p))
		}
		if err == nil || len(below) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("removing a cgroup: %w", err)
		}
		time.Sleep(pollEvery)
	}
}

func writeScript(path, content string) error {
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		return fmt.Errorf("writing a script: %w", err)
	}
	if err := os.Chmod(path, 0o700); err != nil { //nolint:gosec // it is to be run
		return fmt.Errorf("writing a script: %w", err)
	}
	return nil
}
