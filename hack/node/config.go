package main

import (
	"fmt"
	"path/filepath"
	"strconv"
)

// The node has a network namespace of its own, so that these can be the same every
// time, on every machine.
const (
	nodeName    = "node"
	nodeIP      = "172.18.0.2"
	serviceCIDR = "10.96.0.0/16"
	serviceIP   = "10.96.0.1" // of the Service "kubernetes" in the namespace "default"
	podCIDR     = "10.244.0.0/24"
	etcdURL     = "http://127.0.0.1:2379"
	apiURL      = "https://" + nodeIP + ":6443"
	issuer      = "https://kubernetes.default.svc.cluster.local"
	frontProxy  = "front-proxy-client"
)

// layout says where a run keeps its files, and renders those that programs read.
type layout struct {
	dir    string // of this run; removed at its end
	assets string // Kubernetes' and etcd's programs
	logs   string // stays
	cgroup string // name of the cgroup that holds all pods, below each hierarchy's root

	cniPlugins  string // directory of the CNI plugins
	snapshotter string // of containerd
}

func (l layout) file(name ...string) string {
	return filepath.Join(append([]string{l.dir}, name...)...)
}

func (l layout) socket() string { return l.file("containerd.sock") }

// kubeconfig of one of the users that writeKeys makes.
func (l layout) kubeconfig(user string) string { return l.file(user + ".kubeconfig") }

// containerd's own directories are all inside the run's, so that a containerd of
// the machine is not disturbed. restrict_oom_score_adj is for machines whose root
// may not lower that score: runc dies there without it.
func (l layout) containerd() string {
	return fmt.Sprintf(`version = 2
root = %s
state = %s
oom_score = 0
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs",
]
[grpc]
  address = %s
[plugins."io.containerd.internal.v1.opt"]
  path = %s
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = %q
  restrict_oom_score_adj = true
  disable_apparmor = true
  netns_mounts_under_state_dir = true
  stream_server_address = "127.0.0.1"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = %s
    conf_dir = %s
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = %q
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
`, strconv.Quote(l.file("containerd")), strconv.Quote(l.file("containerd-state")), strconv.Quote(l.socket()),
		strconv.Quote(l.file("opt")), pauseImage, strconv.Quote(l.cniPlugins), strconv.Quote(l.file("cni")), l.snapshotter)
}

// cni routes between pods: on a bridge, kube-proxy would need br_netfilter for a
// pod's answer to another one that called it through a Service.
func (l layout) cni() string {
	return fmt.Sprintf(`{
  "cniVersion": "0.4.0",
  "name": "pods",
  "plugins": [
    {
      "type": "ptp",
      "ipMasq": false,
      "ipam": {"type": "host-local", "subnet": %q, "routes": [{"dst": "0.0.0.0/0"}], "dataDir": %q}
    },
    {"type": "portmap", "capabilities": {"portMappings": true}, "snat": true}
  ]
}
`, podCIDR, l.file("addresses"))
}

// kubelet leaves what a workload sees (how often volumes are synced, how changes
// are detected) at its defaults. Evictions and image collection are off: how full
// the machine's disk is says nothing about a test.
func (l layout) kubelet() string {
	return fmt.Sprintf(`apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: 0.0.0.0
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: %q}
authorization: {mode: Webhook}
tlsCertFile: %q
tlsPrivateKeyFile: %q
containerRuntimeEndpoint: %q
cgroupDriver: cgroupfs
cgroupRoot: /%s
failCgroupV1: false
failSwapOn: false
enforceNodeAllocatable: []
oomScoreAdj: 0
clusterDomain: cluster.local
clusterDNS: [127.0.0.1]
resolvConf: %q
podLogsDir: %q
volumePluginDir: %q
imageGCHighThresholdPercent: 100
evictionHard:
  memory.available: "0%%"
  nodefs.available: "0%%"
  nodefs.inodesFree: "0%%"
  imagefs.available: "0%%"
  imagefs.inodesFree: "0%%"
`, l.file("ca.crt"), l.file("kubelet.crt"), l.file("kubelet.key"), "unix://"+l.socket(), l.cgroup,
		l.file("resolv.conf"), l.podLogs(), l.file("volume-plugins"))
}

// podLogs is where the kubelet has them, and where it deletes them with their pods.
func (l layout) podLogs() string { return filepath.Join(l.logs, ".pods") }

// proxy leaves conntrack's limits alone: they are the whole machine's.
func (l layout) proxy() string {
	return fmt.Sprintf(`apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: iptables
hostnameOverride: %s
bindAddress: 0.0.0.0
clusterCIDR: %s
oomScoreAdj: 0
clientConnection: {kubeconfig: %q}
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
`, nodeName, podCIDR, l.kubeconfig("kube-proxy"))
}

// program is one that runs for as long as the node does.
type program struct {
	name string // of the log, too
	path string
	args []string
}

func (l layout) asset(name string, args ...string) program {
	return program{name: name, path: filepath.Join(l.assets, name), args: args}
}

func (l layout) etcd() program {
	return l.asset("etcd",
		"--data-dir="+l.file("etcd"),
		"--listen-client-urls="+etcdURL,
		"--advertise-client-urls="+etcdURL,
		"--listen-peer-urls=http://127.0.0.1:2380",
		"--unsafe-no-fsync",
		"--log-level=warn",
	)
}

func (l layout) apiServer() program {
	return l.asset("kube-apiserver",
		"--etcd-servers="+etcdURL,
		"--bind-address=0.0.0.0",
		"--advertise-address="+nodeIP,
		"--secure-port=6443",
		"--tls-cert-file="+l.file("apiserver.crt"),
		"--tls-private-key-file="+l.file("apiserver.key"),
		"--client-ca-file="+l.file("ca.crt"),
		"--authorization-mode=Node,RBAC",
		"--enable-admission-plugins=NodeRestriction",
		"--allow-privileged=true",
		"--service-account-issuer="+issuer,
		"--service-account-key-file="+l.file("accounts.key"),
		"--service-account-signing-key-file="+l.file("accounts.key"),
		"--service-cluster-ip-range="+serviceCIDR,
		// Programs behind the API server, such as metrics-server, know it by these.
		"--requestheader-client-ca-file="+l.file("front-proxy-ca.crt"),
		"--requestheader-allowed-names="+frontProxy,
		"--requestheader-username-headers=X-Remote-User",
		"--requestheader-group-headers=X-Remote-Group",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--proxy-client-cert-file="+l.file("front-proxy.crt"),
		"--proxy-client-key-file="+l.file("front-proxy.key"),
		"--kubelet-certificate-authority="+l.file("ca.crt"),
		"--kubelet-client-certificate="+l.file("apiserver-kubelet.crt"),
		"--kubelet-client-key="+l.file("apiserver-kubelet.key"),
		"--kubelet-preferred-address-types=InternalIP",
	)
}

func (l layout) controllerManager() program {
	kubeconfig := l.kubeconfig("kube-controller-manager")
	return l.asset("kube-controller-manager",
		"--kubeconfig="+kubeconfig,
		"--authentication-kubeconfig="+kubeconfig,
		"--authorization-kubeconfig="+kubeconfig,
		"--bind-address=127.0.0.1",
		"--leader-elect=false",
		"--use-service-account-credentials",
		"--service-account-private-key-file="+l.file("accounts.key"),
		"--root-ca-file="+l.file("ca.crt"),
		"--cluster-signing-cert-file="+l.file("ca.crt"),
		"--cluster-signing-key-file="+l.file("ca.key"),
		// Its default limit costs five seconds at the start, before the node is usable.
		"--kube-api-qps=200",
		"--kube-api-burst=400",
		"--flex-volume-plugin-dir="+l.file("volume-plugins"),
	)
}

func (l layout) scheduler() program {
	kubeconfig := l.kubeconfig("kube-scheduler")
	return l.asset("kube-scheduler",
		"--kubeconfig="+kubeconfig,
		"--authentication-kubeconfig="+kubeconfig,
		"--authorization-kubeconfig="+kubeconfig,
		"--bind-address=127.0.0.1",
		"--leader-elect=false",
	)
}

func (l layout) kubeletProgram() program {
	return l.asset("kubelet",
		"--config="+l.file("kubelet.yaml"),
		"--kubeconfig="+l.kubeconfig("kubelet"),
		"--hostname-override="+nodeName,
		"--node-ip="+nodeIP,
		"--root-dir="+l.file("kubelet"),
		"--cert-dir="+l.file("kubelet-pki"),
		"--v=2",
	)
}

func (l layout) proxyProgram() program {
	return l.asset("kube-proxy", "--config="+l.file("kube-proxy.yaml"))
}

func (l layout) containerdProgram(path string) program {
	return program{name: "containerd", path: path, args: []string{"--config", l.file("containerd.toml")}}
}

// user is somebody whom the API server knows by a client certificate.
type user struct {
	file, name string
	groups     []string
}

// users have the names that Kubernetes' own roles are bound to.
func users() []user {
	return []user{
		{file: "admin", name: "kubernetes-admin", groups: []string{"system:masters"}},
		{file: "kube-controller-manager", name: "system:kube-controller-manager"},
		{file: "kube-scheduler", name: "system:kube-scheduler"},
		{file: "kube-proxy", name: "system:kube-proxy"},
		{file: "kubelet", name: "system:node:" + nodeName, groups: []string{"system:nodes"}},
	}
}
