package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"text/template"
	"time"
)

// ours starts the operator of this repository, with its defaults but for what a machine
// without a cluster needs.
const ours = "bin/manager --kubeconfig={{.Kubeconfig}} --operator-namespace=" + operatorNamespace +
	" --allow-networks=127.0.0.0/8 --metrics-secure=false --metrics-bind-address={{.Metrics}} --health-probe-bind-address={{.Health}}" +
	"{{with .Pprof}} --pprof-bind-address={{.}}{{end}}"

// stopPatience is how long an operator may take to end.
const stopPatience = 30 * time.Second

// addresses that an operator is told of.
type addresses struct {
	// Kubeconfig of the operator's ServiceAccount, AdminKubeconfig of an admin.
	Kubeconfig, AdminKubeconfig string
	// Metrics, Health and Pprof are host:port; the latter is empty unless profiles are wanted.
	Metrics, Health, Pprof string
}

// operator is a process that is measured.
type operator struct {
	addresses
	command *exec.Cmd
	log     string
	// began is when it was started.
	began time.Time
	ended chan struct{}
	err   error
}

// startOperator runs a command line with its addresses filled in. No shell reads it.
func startOperator(line, directory string, env []string, a addresses, profiled bool) (*operator, error) {
	for _, address := range []*string{&a.Metrics, &a.Health, &a.Pprof} {
		free, err := freeAddress()
		if err != nil {
			return nil, err
		}
		*address = free
	}
	if !profiled {
		a.Pprof = ""
	}
	t, err := template.New("operator").Option("missingkey=error").Parse(line)
	if err != nil {
		return nil, fmt.Errorf("reading --operator: %w", err)
	}
	var filled strings.Builder
	if err := t.Execute(&filled, a); err != nil {
		return nil, fmt.Errorf("filling in --operator: %w", err)
	}
	words := strings.Fields(filled.String())
	if len(words) == 0 {
		return nil, errors.New("--operator is empty: write the command that starts the operator")
	}
	log, err := os.OpenFile(filepath.Join(directory, "operator.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the operator's log: %w", err)
	}
	defer func() { _ = log.Close() }()              // the child has its own descriptor
	command := exec.Command(words[0], words[1:]...) //nolint:noctx // stop asks first
	command.Stdout, command.Stderr = log, log
	command.Env = append(os.Environ(), env...)
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	o := &operator{addresses: a, command: command, log: log.Name(), began: time.Now(), ended: make(chan struct{})}
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("starting the operator: %w", err)
	}
	go func() {
		o.err = command.Wait()
		close(o.ended)
	}()
	return o, nil
}

func (o *operator) pid() int { return o.command.Process.Pid }

// alive is an error that says why when the operator has ended.
func (o *operator) alive() error {
	select {
	case <-o.ended:
		return fmt.Errorf("the operator ended too early (%w); the end of its log:\n%s", o.err, tail(o.log, 20))
	default:
		return nil
	}
}

// stop ends it as a kubelet would.
func (o *operator) stop() error {
	select {
	case <-o.ended:
		return nil
	default:
	}
	if err := syscall.Kill(-o.pid(), syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("stopping the operator: %w", err)
	}
	select {
	case <-o.ended:
		return nil
	case <-time.After(stopPatience):
	}
	_ = syscall.Kill(-o.pid(), syscall.SIGKILL)
	<-o.ended
	return fmt.Errorf("the operator did not stop within %s and was killed", stopPatience)
}

// profile stores a profile: "heap", or "profile" for the CPU over some time.
func (o *operator) profile(ctx context.Context, what, file string, over time.Duration) error {
	url := "http://" + o.Pprof + "/debug/pprof/" + what
	if over > 0 {
		url += fmt.Sprintf("?seconds=%d", int(over.Seconds()))
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("getting a profile: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("getting a profile: HTTP %d", response.StatusCode)
	}
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, response.Body)
	return errors.Join(err, out.Close())
}

func freeAddress() (string, error) {
	listener, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return "", fmt.Errorf("finding a free port: %w", err)
	}
	return listener.Addr().String(), listener.Close()
}

func tail(file string, lines int) string {
	content, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	all := bytes.Split(bytes.TrimSpace(content), []byte("\n"))
	return string(bytes.Join(all[max(len(all)-lines, 0):], []byte("\n")))
}
