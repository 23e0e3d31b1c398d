// Package recipes runs the manifests of docs/recipes.md on a real cluster, each
// with the program that it is for: hack/recipes.sh. It has a module of its own,
// because nothing of the operator may depend on these programs; they are pinned in
// modules beside it, so that they do not decide each other's dependencies.
package recipes
