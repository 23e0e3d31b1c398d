//go:build !race

package controller

const detectorAllocations = 0
