package process_test

import (
	"runtime/debug"
	"testing"

	"github.com/providertoken/operator/internal/process"
)

func TestTheHeapGrowsByLessUnlessSomebodySaysOtherwise(t *testing.T) {
	const before = 77
	was := debug.SetGCPercent(before)
	defer debug.SetGCPercent(was)
	for set, want := range map[string]int{"": 50, "100": before} {
		process.Collect(func(string) string { return set })
		if got := debug.SetGCPercent(before); got != want {
			t.Errorf("with GOGC=%q it grows by %d %%, want %d", set, got, want)
		}
	}
}
