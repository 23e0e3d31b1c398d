// Package propagation tells running pods that a target Secret which they mount
// has changed. A kubelet looks for changed Secrets every 60 to 90 s, and at once
// when something of the pod itself changes: so an annotation of the pod is
// patched, and the file in it follows within a second.
//
// Pods ask for it with a label; others are neither read nor watched. Only the
// annotation providertoken.dev/told is written, through pods/status, which cannot
// change what a pod runs.
//
// It must not import packages that make, schedule or write tokens.
package propagation
