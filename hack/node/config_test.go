package main

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

func testLayout() layout {
	return layout{
		dir: "/runs/7", assets: "/assets", logs: "/logs", cgroup: "providertoken-node-7",
		cniPlugins: "/plugins", snapshotter: "overlayfs",
	}
}

func (l layout) programs() []program {
	return []program{
		l.etcd(), l.apiServer(), l.controllerManager(), l.scheduler(), l.kubeletProgram(), l.proxyProgram(),
		l.containerdProgram("/assets/containerd"),
	}
}

// A program that writes elsewhere would leave files on the machine, or change those
// of the machine's own containerd or kubelet.
func TestEveryPathIsInTheRunsOwnDirectories(t *testing.T) {
	l := testLayout()
	texts := map[string]string{"containerd": l.containerd(), "cni": l.cni(), "kubelet": l.kubelet(), "kube-proxy": l.proxy()}
	for _, p := range l.programs() {
		texts["flags of "+p.name] = p.path + "\n" + strings.Join(p.args, "\n")
	}
	absolute := regexp.MustCompile(`(?m)(?:^|[\s"'=]|unix:/)(/[A-Za-z][^\s"',]*)`)
	for name, text := range texts {
		for _, match := range absolute.FindAllStringSubmatch(text, -1) {
			path := match[1]
			own := path == "/"+l.cgroup
			for _, directory := range []string{l.dir, l.assets, l.logs, l.cniPlugins} {
				own = own || strings.HasPrefix(path, directory+"/") || path == directory
			}
			if !own {
				t.Errorf("%s: %s is outside the run's directories", name, path)
			}
		}
	}
}

func TestKubeletSyncsVolumesByItsDefaults(t *testing.T) {
	var config map[string]any
	if err := yaml.UnmarshalStrict([]byte(testLayout().kubelet()), &config); err != nil {
		t.Fatal(err)
	}
	for _, field := range []string{"syncFrequency", "configMapAndSecretChangeDetectionStrategy", "featureGates"} {
		if value, set := config[field]; set {
			t.Errorf("%s is %v; what pods see must be as on other nodes", field, value)
		}
	}
	if config["cgroupRoot"] != "/providertoken-node-7" {
		t.Errorf("cgroupRoot is %v: pods would be in cgroups that nobody removes", config["cgroupRoot"])
	}
}

func TestConfigurationsAreWellFormed(t *testing.T) {
	l := testLayout()
	if err := yaml.UnmarshalStrict([]byte(l.proxy()), &map[string]any{}); err != nil {
		t.Errorf("kube-proxy: %v", err)
	}
	if err := json.Unmarshal([]byte(l.cni()), &map[string]any{}); err != nil {
		t.Errorf("CNI: %v", err)
	}
}

func TestKeysFitTheirUses(t *testing.T) {
	files, clients, err := keys()
	if err != nil {
		t.Fatal(err)
	}
	pool := func(name string) *x509.CertPool {
		p := x509.NewCertPool()
		if !p.AppendCertsFromPEM(files[name]) {
			t.Fatalf("%s holds no certificate", name)
		}
		return p
	}
	certificate := func(text []byte) *x509.Certificate {
		block, _ := pem.Decode(text)
		if block == nil {
			t.Fatal("no PEM")
		}
		parsed, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		return parsed
	}
	for server, names := range map[string][]string{
		"apiserver.crt": {serviceIP, nodeIP, "127.0.0.1", "kubernetes.default.svc"},
		"kubelet.crt":   {nodeIP, nodeName},
	} {
		for _, name := range names {
			options := x509.VerifyOptions{Roots: pool("ca.crt"), DNSName: name}
			if _, err := certificate(files[server]).Verify(options); err != nil {
				t.Errorf("%s for %s: %v", server, name, err)
			}
		}
	}
	asClient := []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	for _, u := range users() {
		c := certificate(clients[u.file].Certificate)
		if _, err := c.Verify(x509.VerifyOptions{Roots: pool("ca.crt"), KeyUsages: asClient}); err != nil {
			t.Errorf("%s: %v", u.file, err)
		}
		if c.Subject.CommonName != u.name || strings.Join(c.Subject.Organization, " ") != strings.Join(u.groups, " ") {
			t.Errorf("%s is signed for %v", u.file, c.Subject)
		}
	}
	// Whom the front proxy's authority signs may act for everybody: it signs one alone.
	front := x509.VerifyOptions{Roots: pool("front-proxy-ca.crt"), KeyUsages: asClient}
	if _, err := certificate(files["front-proxy.crt"]).Verify(front); err != nil {
		t.Errorf("front proxy: %v", err)
	}
	for _, u := range users() {
		if _, err := certificate(clients[u.file].Certificate).Verify(front); err == nil {
			t.Errorf("%s passes for a front proxy", u.file)
		}
	}
}
