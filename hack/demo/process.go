package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// stopPatience is how long a process may take to end after SIGTERM.
const stopPatience = 10 * time.Second

// process is a child with a log file. It leads a process group of its own, so
// that Ctrl-C on the terminal reaches the demo only, which then ends its children
// in order; where the system knows how, it dies with the demo in any case.
type process struct {
	name  string
	log   string
	cmd   *exec.Cmd
	ended chan struct{} // closed when it has ended and err is set
	err   error
}

// startProcess must be called from main's locked thread: Linux delivers the
// parent-death signal when the thread that started the child ends.
func startProcess(directory, path string, args ...string) (*process, error) {
	name := filepath.Base(path)
	log, err := os.Create(filepath.Join(directory, name+".log"))
	if err != nil {
		return nil, fmt.Errorf("creating a log: %w", err)
	}
	defer func() { _ = log.Close() }() // the child has its own descriptor
	cmd := exec.Command(path, args...) //nolint:noctx // a context would kill it; stop asks first
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Dir = directory
	cmd.SysProcAttr = childAttributes()
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	p := &process{name: name, log: log.Name(), cmd: cmd, ended: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

// stop ends the process group and waits until the process is gone.
func (p *process) stop() error {
	group := -p.cmd.Process.Pid
	select {
	case <-p.ended:
		return nil
	default:
	}
	if err := syscall.Kill(group, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("stopping %s: %w", p.name, err)
	}
	select {
	case <-p.ended:
		return nil
	case <-time.After(stopPatience):
	}
	if err := syscall.Kill(group, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("killing %s: %w", p.name, err)
	}
	<-p.ended
	return fmt.Errorf("%s did not stop within %s and was killed", p.name, stopPatience)
}

// failure tells that the process ended by itself, with the end of its log.
func (p *process) failure() error {
	status := "without an error"
	if p.err != nil {
		status = p.err.Error()
	}
	return fmt.Errorf("%s ended too early, %s:\n%s", p.name, status, tail(p.log, 20))
}

func tail(file string, lines int) string {
	content, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	all := bytes.Split(bytes.TrimSpace(content), []byte("\n"))
	if len(all) > lines {
		all = all[len(all)-lines:]
	}
	return string(bytes.Join(all, []byte("\n")))
}
