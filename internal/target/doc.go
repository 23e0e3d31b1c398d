// Package target makes, reads and writes the Secret that holds a token.
//
// Render and Observe are pure and each other's inverse: the Secret describes
// the token in it, so that a restart, an upgrade or a lost status costs no mint.
// Writer is the only code of the operator that writes targets, and refuses
// those that are not ours.
//
// It knows Kubernetes, the API types and internal/token. It must not import
// internal/controller, internal/exchange, internal/provider or
// internal/schedule, and reads no clock.
package target
