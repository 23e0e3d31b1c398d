package main

import (
	"bytes"
	"os"
	"testing"
)

func TestDashboardInConfigIsFresh(t *testing.T) {
	fresh, err := render()
	if err != nil {
		t.Fatal(err)
	}
	have, err := os.ReadFile("../../" + file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, fresh) {
		t.Errorf("%s is stale; run: make generate", file)
	}
}

func TestPanelsDoNotOverlap(t *testing.T) {
	taken := map[[2]int]string{}
	for _, p := range board()["panels"].([]object) {
		at := p["gridPos"].(object)
		for x := at["x"].(int); x < at["x"].(int)+at["w"].(int); x++ {
			for y := at["y"].(int); y < at["y"].(int)+at["h"].(int); y++ {
				if other := taken[[2]int{x, y}]; other != "" || x >= columns {
					t.Fatalf("%q lies on %q at %d, %d", p["title"], other, x, y)
				}
				taken[[2]int{x, y}] = p["title"].(string)
			}
		}
	}
}
