package main

import (
	"fmt"
	"image/color"
	"os"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// plotGrowth draws how figures grow with the number of tokens, each in a plot of its own,
// beside what growth in proportion would be. There are two runs at least.
func plotGrowth(runs []*result, file string) error {
	figures := []struct {
		title string
		of    func(*result) float64
		// linear is set where growth in proportion to the tokens is natural; others should stay as they are.
		linear bool
	}{
		{"API requests per refresh", func(r *result) float64 { return r.Steady.RequestsPerRefresh }, false},
		{"operator CPU per refresh, ms", func(r *result) float64 { return r.Steady.CPU }, false},
		{"lateness p99, s", func(r *result) float64 { return r.Steady.Late.P99 }, false},
		{"all first tokens, s", func(r *result) float64 { return r.FirstTokens.All }, true},
		{"resident memory, MiB", func(r *result) float64 { return r.Memory.Resident }, true},
		{"API server CPU per refresh, ms", func(r *result) float64 { return r.Steady.APIServerCPU }, false},
	}
	const columns = 3
	rows := (len(figures) + columns - 1) / columns
	grid := make([][]*plot.Plot, rows)
	for i, f := range figures {
		p, err := growthOf(runs, f.title, f.of, f.linear)
		if err != nil {
			return err
		}
		grid[i/columns] = append(grid[i/columns], p)
	}
	canvas := vgsvg.New(27*vg.Centimeter, vg.Length(rows)*7*vg.Centimeter)
	tiles := draw.Tiles{Rows: rows, Cols: columns, PadX: vg.Centimeter / 2, PadY: vg.Centimeter / 2}
	for i, line := range plot.Align(grid, tiles, draw.New(canvas)) {
		for j, c := range line {
			grid[i][j].Draw(c)
		}
	}
	out, err := os.Create(file)
	if err != nil {
		return fmt.Errorf("writing a plot: %w", err)
	}
	if _, err := canvas.WriteTo(out); err != nil {
		_ = out.Close()
		return fmt.Errorf("writing a plot: %w", err)
	}
	return out.Close()
}

func growthOf(runs []*result, title string, of func(*result) float64, linear bool) (*plot.Plot, error) {
	p := plot.New()
	p.Title.Text, p.X.Label.Text = title, "tokens"
	p.X.Min, p.Y.Min = 0, 0
	var measured, expected plotter.XYs
	first := of(runs[0])
	for _, r := range runs {
		n := float64(r.Objects)
		measured = append(measured, plotter.XY{X: n, Y: of(r)})
		inProportion := first
		if linear {
			inProportion *= n / float64(runs[0].Objects)
		}
		expected = append(expected, plotter.XY{X: n, Y: inProportion})
	}
	line, points, err := plotter.NewLinePoints(measured)
	if err != nil {
		return nil, fmt.Errorf("drawing %s: %w", title, err)
	}
	line.Color, points.Color, points.Shape = color.RGBA{R: 30, G: 90, B: 200, A: 255}, color.RGBA{R: 30, G: 90, B: 200, A: 255}, draw.CircleGlyph{}
	proportion, err := plotter.NewLine(expected)
	if err != nil {
		return nil, fmt.Errorf("drawing %s: %w", title, err)
	}
	proportion.Color, proportion.Dashes = color.Gray{Y: 150}, []vg.Length{vg.Points(4), vg.Points(3)}
	p.Add(plotter.NewGrid(), proportion, line, points)
	for _, xy := range measured {
		p.Y.Max = max(p.Y.Max, xy.Y*1.15)
	}
	return p, nil
}
