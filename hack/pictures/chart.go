package main

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// chart draws lines, or areas on top of each other.
func (s source) chart(p panel, lines []line) string {
	const left, base = 52, 14
	letters := 0
	for _, l := range lines {
		letters += len(l.name) + 4
	}
	legendRows := min(1+letters*6/(p.GridPos.W*unit*2-30), 3)
	width, height := float64(p.GridPos.W*unit*2-22), float64(p.GridPos.H*unit-6-36-legendRows*15)
	stacked := p.FieldConfig.Defaults.Custom.Stacking.Mode == "normal"
	low, high := bounds(lines, stacked)
	x := func(at float64) float64 {
		return left + (at-float64(s.from.Unix()))/s.to.Sub(s.from).Seconds()*(width-left)
	}
	y := func(v float64) float64 { return (height - base) * (1 - (v-low)/(high-low)) }
	var b strings.Builder
	fmt.Fprintf(&b, `<svg width="%.0f" height="%.0f">`, width, height)
	for i := range 4 {
		v := low + (high-low)*float64(i)/3
		fmt.Fprintf(&b, `<line x1="%d" x2="%.0f" y1="%.1f" y2="%.1f" stroke="#2c3235"/><text x="0" y="%.1f">%s</text>`,
			left, width, y(v), y(v), max(y(v)+3, 9), show(v, p.FieldConfig.Defaults.Unit))
	}
	for at := s.from.Truncate(time.Minute).Add(time.Minute); at.Before(s.to); at = at.Add(time.Minute) {
		fmt.Fprintf(&b, `<text x="%.1f" y="%.1f">%s</text>`, x(float64(at.Unix()))-12, height-1, at.UTC().Format("15:04"))
	}
	ground := map[float64]float64{}
	for i, l := range lines {
		colour := p.colour(i, l.name)
		for _, part := range parts(l.points) {
			var over, under []string
			for _, point := range part {
				at, v := point[0], point[1]
				if stacked {
					under = append([]string{fmt.Sprintf("%.1f,%.1f", x(at), y(ground[at]))}, under...)
					ground[at] += v
					v = ground[at]
				}
				over = append(over, fmt.Sprintf("%.1f,%.1f", x(at), y(v)))
			}
			if stacked {
				fmt.Fprintf(&b, `<polygon points="%s" fill="%s" fill-opacity=".45"/>`, strings.Join(append(append([]string{}, over...), under...), " "), colour)
			}
			fmt.Fprintf(&b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="1.5"/>`, strings.Join(over, " "), colour)
		}
	}
	b.WriteString(`</svg><div class="legend">`)
	for i, l := range lines {
		fmt.Fprintf(&b, `<i style="background:%s"></i>%s`, p.colour(i, l.name), l.name)
	}
	return b.String() + "</div>"
}

// parts are the stretches of a series without gaps.
func parts(points [][2]float64) [][][2]float64 {
	var all [][][2]float64
	for i, p := range points {
		if i == 0 || p[0]-points[i-1][0] > 5 {
			all = append(all, nil)
		}
		all[len(all)-1] = append(all[len(all)-1], p)
	}
	return all
}

// bounds are the least and the largest value to show; zero is always among them.
func bounds(lines []line, stacked bool) (low, high float64) {
	sums := map[float64]float64{}
	for _, l := range lines {
		for _, p := range l.points {
			v := p[1]
			if stacked {
				sums[p[0]] += v
				v = sums[p[0]]
			}
			low, high = math.Min(low, v), math.Max(high, v)
		}
	}
	if high <= low {
		high = low + 1
	}
	return low, high * 1.05
}
