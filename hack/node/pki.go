package main

import (
	"errors"

	"github.com/providertoken/operator/hack/internal/pki"
)

// keys makes all that the programs of a node read, by the name of the file, and the
// pairs of users by the name of their kubeconfig.
func keys() (files map[string][]byte, clients map[string]pki.Pair, err error) {
	ca, err := pki.NewAuthority("kubernetes")
	if err != nil {
		return nil, nil, err
	}
	// One of its own: whom it signs may act for everybody.
	frontCA, err := pki.NewAuthority("front-proxy")
	if err != nil {
		return nil, nil, err
	}
	pairs := map[string]pki.Pair{"ca": ca.Pair, "front-proxy-ca": frontCA.Pair}
	clients = map[string]pki.Pair{}
	var errs []error
	sign := func(name string) func(pki.Pair, error) {
		return func(pair pki.Pair, err error) {
			pairs[name] = pair
			errs = append(errs, err)
		}
	}
	sign("apiserver")(ca.Server("kubernetes", "kubernetes.default", "kubernetes.default.svc",
		"kubernetes.default.svc.cluster.local", "localhost", "127.0.0.1", nodeIP, serviceIP))
	sign("kubelet")(ca.Server(nodeName, nodeIP))
	sign("apiserver-kubelet")(ca.Client("kube-apiserver-kubelet-client", "system:masters"))
	sign("front-proxy")(frontCA.Client(frontProxy))
	sign("accounts")(ca.Client("service-accounts")) // of this, only the key is used
	for _, u := range users() {
		pair, err := ca.Client(u.name, u.groups...)
		clients[u.file] = pair
		errs = append(errs, err)
	}
	files = map[string][]byte{}
	for name, pair := range pairs {
		files[name+".crt"], files[name+".key"] = pair.Certificate, pair.Key
	}
	return files, clients, errors.Join(errs...)
}
