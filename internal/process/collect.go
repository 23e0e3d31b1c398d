package process

import "runtime/debug"

// heapGrowth is by how many percent the heap may grow between two collections.
const heapGrowth = 50

// Collect lets the heap grow by less between collections than Go does by itself, which
// is to twice what is alive. Most of what is alive are caches, which hardly change, and
// an operator idles: some more CPU for each refresh is cheaper than the memory. Whoever
// knows better sets GOGC, see https://go.dev/doc/gc-guide.
func Collect(env func(string) string) {
	if env("GOGC") == "" {
		debug.SetGCPercent(heapGrowth)
	}
}
