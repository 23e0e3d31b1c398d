// Package process is what the operator asks of its own process: no secret in its log, no
// core file, little memory.
//
// It must not import other packages of the operator.
package process
