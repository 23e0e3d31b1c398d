//go:build !linux

package main

import "errors"

func run(options) (int, error) {
	return 1, errors.New("a node needs Linux; elsewhere use kind, or set KUBECONFIG to a cluster")
}
