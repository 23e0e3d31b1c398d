//go:build race

package controller

// detectorAllocations is what the race detector adds to a reconcile.
const detectorAllocations = 16
