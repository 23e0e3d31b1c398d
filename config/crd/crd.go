// Package crd holds the CustomResourceDefinitions as they are applied, for programs that
// judge manifests without an API server. The manager must not import it.
package crd

import "embed"

// Bases are the CustomResourceDefinitions, one a file, under bases/.
//
//go:embed bases/*.yaml
var Bases embed.FS
