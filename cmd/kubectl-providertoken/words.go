package main

import (
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/duration"
)

// nearest is the one of names that a person may have meant; empty when none is near.
func nearest(typed string, names []string) string {
	best, least := "", max(len(typed)/3, 1)+1
	for _, n := range names {
		if d := distance(typed, n); d < least {
			best, least = n, d
		}
	}
	if best == "" {
		for _, n := range names {
			if len(typed) > 2 && (strings.HasPrefix(n, typed) || strings.HasPrefix(typed, n)) {
				return n
			}
		}
	}
	return best
}

// distance is how many letters have to be added, dropped or changed (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}

// enumerate the first of names.
func enumerate(names []string, most int) string {
	if len(names) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}

// plural of a count: "1 pod", "2 pods".
func plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// stamp is an instant as status and messages of the operator write it.
func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// from tells an instant relative to now: "in 12m", "3m ago".
func from(now, t time.Time) string {
	if d := t.Sub(now); d > 0 {
		return "in " + duration.HumanDuration(d)
	}
	return duration.HumanDuration(now.Sub(t)) + " ago"
}
