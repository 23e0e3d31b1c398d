// Package process is what the operator asks of its own process.
//
// It must not import other packages of the operator.
package process
