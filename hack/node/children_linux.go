package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
)

// children are those that this process started and waits for. It is the first of its
// namespace, and therefore also has to reap orphans, which the kernel gives to it:
// containerd's shims, and what the command leaves behind.
type children struct {
	mu   sync.Mutex
	pids map[int]bool
}

func newChildren() *children {
	c := &children{pids: map[int]bool{}}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGCHLD)
	go func() {
		for range signals {
			c.reap()
		}
	}()
	return c
}

// child is one that has been started; err is set when ended is closed.
type child struct {
	cmd   *exec.Cmd
	ended chan struct{}
	err   error
}

// start starts a child. None must be started otherwise: it would be taken for an orphan.
func (c *children) start(cmd *exec.Cmd) (*child, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	pid := cmd.Process.Pid
	c.pids[pid] = true
	started := &child{cmd: cmd, ended: make(chan struct{})}
	go func() {
		started.err = cmd.Wait()
		c.mu.Lock()
		delete(c.pids, pid)
		c.mu.Unlock()
		close(started.ended)
	}()
	return started, nil
}

// output runs a child to its end and returns what it printed.
func (c *children) output(ctx context.Context, path string, args ...string) (string, error) {
	var output bytes.Buffer
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Stdout, cmd.Stderr = &output, &output
	started, err := c.start(cmd)
	if err != nil {
		return "", err
	}
	<-started.ended
	return output.String(), started.err
}

func (c *children) reap() {
	c.mu.Lock()
	defer c.mu.Unlock()
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return
	}
	for _, file := range files {
		stat, err := os.ReadFile(file)
		if err != nil {
			continue // it is gone
		}
		if pid, ok := endedChild(string(stat), os.Getpid()); ok && !c.pids[pid] {
			_, _ = syscall.Wait4(pid, nil, syscall.WNOHANG, nil)
		}
	}
}
