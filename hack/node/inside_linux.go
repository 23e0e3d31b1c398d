package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// interruption is a signal, as the cause for which all ends.
type interruption struct{ signal os.Signal }

func (i interruption) Error() string { return fmt.Sprintf("ended by the signal %q", i.signal) }

// exitCode is as a shell has it.
func (i interruption) exitCode() int {
	number, _ := i.signal.(syscall.Signal)
	return 128 + int(number)
}

// inside is the first process of the namespaces: when it returns, the kernel ends
// all others.
func inside(o options) (int, error) {
	ctx, end := context.WithCancelCause(context.Background())
	defer end(nil)
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		for s := range signals {
			end(interruption{s})
		}
	}()
	l := layout{dir: o.inside, assets: o.assets, logs: o.logs, cgroup: o.cgroup, cniPlugins: o.cniPlugins}
	n := &node{layout: l, children: newChildren(), end: end, started: time.Now()}
	if err := n.up(ctx, o.pause); err != nil {
		if by := (interruption{}); errors.As(context.Cause(ctx), &by) {
			return by.exitCode(), nil
		}
		return 1, err
	}
	go n.keepPodLogs(ctx)
	code, err := n.command(ctx, o.command)
	if o.keep && ctx.Err() == nil {
		say("the command ended with %d; the cluster stays until Ctrl-C. In another terminal, as root:\n  %s kubectl get pods -A",
			code, n.file("enter"))
		<-ctx.Done()
		// Ctrl-C is how this is meant to end.
		if !errors.As(context.Cause(ctx), &interruption{}) {
			err = errors.Join(err, context.Cause(ctx))
		}
	}
	n.linkPodLogs()
	return code, errors.Join(err, os.RemoveAll(n.podLogs()))
}

// node is the cluster, seen from inside.
type node struct {
	layout
	children *children
	end      context.CancelCauseFunc // called with the first failure of a part
	started  time.Time
}

func (n *node) up(ctx context.Context, pause string) error {
	for _, step := range []func() error{n.mounts, n.network, n.writeKeys, func() error { return n.writeFiles(pause) }} {
		if err := step(); err != nil {
			return err
		}
	}
	containerd, err := exec.LookPath("containerd")
	if err != nil {
		return fmt.Errorf("finding containerd: %w", err)
	}
	for _, p := range []program{n.etcd(), n.apiServer(), n.containerdProgram(containerd)} {
		if err := n.start(p); err != nil {
			return err
		}
	}
	cluster, err := newCluster(n.kubeconfig("admin"))
	if err != nil {
		return err
	}
	if err := await(ctx, "containerd", n.containerdReady); err != nil {
		return err
	}
	if output, err := n.children.output(ctx, n.file("load-image"), n.file("pause.tar")); err != nil {
		return fmt.Errorf("loading the pause image: %w: %s", err, output)
	}
	if err := await(ctx, "the API server", cluster.serving); err != nil {
		return err
	}
	serving := time.Since(n.started)
	for _, p := range []program{n.controllerManager(), n.scheduler(), n.proxyProgram()} {
		if err := n.start(p); err != nil {
			return err
		}
	}
	go n.keepKubelet(ctx)
	for _, part := range []struct {
		name  string
		ready func(context.Context) bool
	}{
		{"the node", cluster.nodeReady},
		{"the default ServiceAccount", cluster.accountExists},
		{"kube-proxy", serviceReachable},
	} {
		if err := await(ctx, part.name, part.ready); err != nil {
			return err
		}
	}
	say("the node is ready after %.1f s (the API server after %.1f s)", time.Since(n.started).Seconds(), serving.Seconds())
	return nil
}

// start runs a program that must not end by itself.
func (n *node) start(p program) error {
	started, err := n.run(p)
	if err != nil {
		return err
	}
	go func() {
		<-started.ended
		n.end(n.failure(p, started.err))
	}()
	return nil
}

func (n *node) logFile(p program) string { return filepath.Join(n.logs, p.name+".log") }

func (n *node) run(p program) (*child, error) {
	log, err := os.OpenFile(n.logFile(p), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening a log: %w", err)
	}
	defer func() { _ = log.Close() }()     // the child has its own descriptor
	cmd := exec.Command(p.path, p.args...) //nolint:noctx // lives as long as the namespaces
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Dir = n.dir
	// A group of its own: a Ctrl-C in the terminal is not for it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	started, err := n.children.start(cmd)
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", p.name, err)
	}
	return started, nil
}

// writePID is what the script restart-kubelet reads; it must never see half of it.
func (n *node) writePID(pid int) error {
	file := n.file("kubelet.pid")
	if err := os.WriteFile(file+".new", fmt.Appendln(nil, pid), 0o600); err != nil {
		return fmt.Errorf("writing the kubelet's process id: %w", err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		return fmt.Errorf("writing the kubelet's process id: %w", err)
	}
	return nil
}

func (n *node) failure(p program, err error) error {
	status := "without an error"
	if err != nil {
		status = err.Error()
	}
	log := n.logFile(p)
	return fmt.Errorf("%s ended unexpectedly, %s. The end of %s:\n%s", p.name, status, log, tail(log, 20))
}

const (
	// A kubelet that ends this soon has not been restarted by somebody; a few times
	// in a row, and it never will run.
	kubeletTooSoon = 3 * time.Second
	kubeletTries   = 5
)

// keepKubelet starts the kubelet again whenever it ends, as systemd does elsewhere.
func (n *node) keepKubelet(ctx context.Context) {
	for tries := 0; ctx.Err() == nil; {
		started := time.Now()
		kubelet, err := n.run(n.kubeletProgram())
		if err == nil {
			err = n.writePID(kubelet.cmd.Process.Pid)
		}
		if err != nil {
			n.end(err)
			return
		}
		<-kubelet.ended
		tries++
		if time.Since(started) > kubeletTooSoon {
			tries = 0
		}
		if tries == kubeletTries {
			n.end(n.failure(n.kubeletProgram(), kubelet.err))
			return
		}
		if ctx.Err() == nil {
			say("the kubelet ended (%v): starting it again", kubelet.cmd.ProcessState)
		}
	}
}

// command runs what all this is for.
func (n *node) command(ctx context.Context, args []string) (int, error) {
	cmd := exec.Command(args[0], args[1:]...) //nolint:noctx // it is asked to end, below
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), n.environment()...)
	command, err := n.children.start(cmd)
	if err != nil {
		return 127, fmt.Errorf("starting the command: %w", err)
	}
	select {
	case <-command.ended:
		return exitCode(cmd.ProcessState), nil
	case <-ctx.Done():
	}
	cause := context.Cause(ctx)
	var by interruption
	if !errors.As(cause, &by) {
		say("%v", cause)
	}
	// The terminal sends Ctrl-C to the command, too.
	if by.signal != syscall.SIGINT {
		_ = cmd.Process.Signal(syscall.SIGTERM)
	}
	select {
	case <-command.ended:
	case <-time.After(commandPatience):
		say("the command did not end within %s and is killed", commandPatience)
		_ = cmd.Process.Kill()
		<-command.ended
	}
	code := exitCode(cmd.ProcessState)
	if by.signal == nil {
		code = max(code, 1)
	}
	return code, nil
}

// environment is the contract of hack/cluster.sh.
func (n *node) environment() []string {
	return []string{
		"E2E_CLUSTER=node",
		"KUBECONFIG=" + n.kubeconfig("admin"),
		"E2E_KUBECTL=" + filepath.Join(n.assets, "kubectl"),
		"E2E_LOGS=" + n.logs,
		"E2E_LOAD_IMAGE=" + n.file("load-image"),
		"E2E_RESTART_KUBELET=" + n.file("restart-kubelet"),
	}
}

// mounts makes the mount namespace this process's own, and hides in it what the
// parts of a node would leave on the machine or change there.
func (n *node) mounts() error {
	// Private first, so that nothing goes out; then shared among those inside, as
	// mount propagation into pods wants it.
	for _, propagation := range []uintptr{syscall.MS_PRIVATE, syscall.MS_SHARED} {
		if err := syscall.Mount("", "/", "", syscall.MS_REC|propagation, ""); err != nil {
			return fmt.Errorf("separating the mounts: %w", err)
		}
	}
	if err := syscall.Mount("proc", "/proc", "proc", syscall.MS_NOSUID|syscall.MS_NODEV|syscall.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mounting /proc: %w", err)
	}
	// Paths that no configuration changes: sockets of containerd's shims, the cache of
	// CNI, and the kubelet's links to logs.
	for _, path := range []string{"/run/containerd", "/var/lib/cni", "/var/log/containers"} {
		if err := os.MkdirAll(path, 0o755); err != nil { //nolint:gosec // as their programs make them
			return fmt.Errorf("making %s: %w", path, err)
		}
		if err := syscall.Mount("tmpfs", path, "tmpfs", 0, "mode=0755"); err != nil {
			return fmt.Errorf("mounting over %s: %w", path, err)
		}
	}
	if err := n.hideSysctls(); err != nil {
		return err
	}
	n.snapshotter = n.chooseSnapshotter()
	return nil
}

// hideSysctls shows the kubelet what it wants to see in settings that are the whole
// machine's, so that it does not set them.
func (n *node) hideSysctls() error {
	if err := os.Mkdir(n.file("sysctl"), 0o700); err != nil {
		return fmt.Errorf("hiding the machine's settings: %w", err)
	}
	for name, value := range map[string]string{
		"vm/overcommit_memory": "1", "vm/panic_on_oom": "0", "kernel/panic": "10", "kernel/panic_on_oops": "1",
		"kernel/keys/root_maxkeys": "1000000", "kernel/keys/root_maxbytes": "25000000",
	} {
		path, shown := "/proc/sys/"+name, n.file("sysctl", strings.ReplaceAll(name, "/", "."))
		if _, err := os.Stat(path); err != nil {
			continue
		}
		if err := os.WriteFile(shown, []byte(value+"\n"), 0o600); err != nil {
			return fmt.Errorf("hiding the machine's settings: %w", err)
		}
		if err := syscall.Mount(shown, path, "", syscall.MS_BIND, ""); err != nil {
			return fmt.Errorf("hiding %s: %w", path, err)
		}
	}
	return nil
}

// chooseSnapshotter tries what containerd would do: in a container, the directory
// may be on a file system that overlays cannot be stacked upon.
func (n *node) chooseSnapshotter() string {
	for _, name := range []string{"lower", "upper", "work", "merged"} {
		if err := os.MkdirAll(n.file("overlay", name), 0o700); err != nil {
			return "native"
		}
	}
	merged := n.file("overlay", "merged")
	how := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", n.file("overlay", "lower"), n.file("overlay", "upper"), n.file("overlay", "work"))
	if err := syscall.Mount("overlay", merged, "overlay", 0, how); err != nil {
		return "native"
	}
	_ = syscall.Unmount(merged, 0)
	return "overlayfs"
}

// network gives the node an address, and a way to Services, whose addresses
// kube-proxy rewrites. There is none to the outside: what is not here is refused at
// once instead of after a timeout.
func (n *node) network() error {
	for _, line := range []string{
		"link set lo up",
		"link add node0 type veth peer name node1",
		"address add " + nodeIP + "/24 dev node0",
		"link set node0 up",
		"link set node1 up",
		"route add " + serviceCIDR + " dev node0",
	} {
		output, err := n.children.output(context.Background(), "ip", strings.Fields(line)...)
		if err != nil {
			return fmt.Errorf("making the network: ip %s: %w: %s", line, err, output)
		}
	}
	if err := os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o600); err != nil {
		return fmt.Errorf("making the network: %w", err)
	}
	return nil
}

func (n *node) writeKeys() error {
	files, clients, err := keys()
	if err != nil {
		return err
	}
	if err := n.writeAll(files); err != nil {
		return err
	}
	for _, u := range users() {
		if err := writeKubeconfig(n.kubeconfig(u.file), u.name, files["ca.crt"], clients[u.file]); err != nil {
			return err
		}
	}
	return nil
}

func (n *node) writeFiles(pause string) error {
	program, err := os.ReadFile(pause)
	if err != nil {
		return fmt.Errorf("reading the pause program: %w", err)
	}
	image, err := pauseArchive(program, runtime.GOARCH)
	if err != nil {
		return err
	}
	files := map[string][]byte{
		"containerd.toml":   []byte(n.containerd()),
		"kubelet.yaml":      []byte(n.kubelet()),
		"kube-proxy.yaml":   []byte(n.proxy()),
		"cni/pods.conflist": []byte(n.cni()),
		"pause.tar":         image,
		// Nobody answers there, and that is known at once.
		"resolv.conf": []byte("nameserver 127.0.0.1\n"),
	}
	for _, directory := range []string{n.file("cni"), n.file("volume-plugins"), n.podLogs()} {
		if err := os.MkdirAll(directory, 0o750); err != nil {
			return fmt.Errorf("making a directory: %w", err)
		}
	}
	if err := n.writeAll(files); err != nil {
		return err
	}
	namespace, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return fmt.Errorf("reading this process's namespace: %w", err)
	}
	for name, script := range n.scripts(namespace, n.environment()) {
		if err := writeScript(n.file(name), script); err != nil {
			return err
		}
	}
	return nil
}

func (n *node) writeAll(files map[string][]byte) error {
	for name, content := range files {
		if err := os.WriteFile(n.file(name), content, 0o600); err != nil {
			return fmt.Errorf("writing %s: %w", name, err)
		}
	}
	return nil
}

func (n *node) containerdReady(ctx context.Context) bool {
	_, err := n.children.output(ctx, "ctr", "--address", n.socket(), "version")
	return err == nil
}

// keepPodLogs gives the pods' logs a second name, because the kubelet deletes them
// with their pods, and those of a failed test are wanted most.
func (n *node) keepPodLogs(ctx context.Context) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			n.linkPodLogs()
		}
	}
}

func (n *node) linkPodLogs() {
	// <namespace>_<pod>_<uid>/<container>/<restart>.log
	found, err := filepath.Glob(filepath.Join(n.podLogs(), "*", "*", "*.log"))
	if err != nil {
		return
	}
	kept := filepath.Join(n.logs, "pods")
	if err := os.MkdirAll(kept, 0o750); err != nil {
		return
	}
	for _, path := range found {
		_ = os.Link(path, filepath.Join(kept, podLogName(path))) // exists from the second time on
	}
}

// tail is the end of a log.
func tail(file string, lines int) string {
	content, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	all := slices.Collect(strings.Lines(strings.TrimSpace(string(content))))
	return strings.Join(all[max(0, len(all)-lines):], "")
}
