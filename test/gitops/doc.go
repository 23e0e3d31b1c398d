// Package gitops holds no code of its own: its tests let Argo CD's and Flux's
// code judge the objects in testdata, which the operator really wrote
// (hack/argocd plays them), and config/argocd. With the build tag argocd it runs
// a whole Argo CD against a cluster: hack/argocd/run.sh.
package gitops
