package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// result of one run.
type result struct {
	Scenario string `json:"scenario"`
	// Operator is the command line, and Note what the reader should know.
	Operator string `json:"operator"`
	Note     string `json:"note,omitempty"`
	// Peer is set when another operator than that of this repository was driven.
	Peer string    `json:"peer,omitempty"`
	When time.Time `json:"when"`
	// Machine, its CPUs, and its load in the minute before.
	Machine string  `json:"machine"`
	CPUs    int     `json:"cpus"`
	Load    float64 `json:"loadBefore"`

	Objects    int     `json:"objects"`
	Lifetime   float64 `json:"tokenLifetimeSeconds"`
	TokenBytes int     `json:"tokenBytes"`
	Latency    float64 `json:"latencySeconds"`
	Limits     string  `json:"limits"`

	FirstTokens firstTokens `json:"firstTokens"`
	Steady      steady      `json:"steady"`
	Whole       whole       `json:"whole"`
	// Expired is the sum of times in which Secrets held an expired token, in token-seconds.
	Expired float64 `json:"expiredTokenSeconds"`
	// Observed is the time from the operator's start over which that was looked for.
	Observed float64 `json:"observedSeconds"`
	Mints    mints   `json:"mints"`
	Memory   memory  `json:"memory"`

	Restart  *restart  `json:"restart,omitempty"`
	Foreign  *foreign  `json:"foreign,omitempty"`
	Fairness *fairness `json:"fairness,omitempty"`
	Outage   *outage   `json:"outage,omitempty"`
}

// firstTokens tells how long it took from the operator's start until Secrets held tokens.
type firstTokens struct {
	Got  int     `json:"got"`
	Half float64 `json:"halfSeconds"`
	All  float64 `json:"allSeconds"`
	// CPU seconds of the operator, the API server and etcd.
	CPU          float64        `json:"cpuSeconds"`
	APIServerCPU float64        `json:"apiServerCPUSeconds"`
	EtcdCPU      float64        `json:"etcdCPUSeconds"`
	Requests     map[string]int `json:"requests"`
	PerOne       float64        `json:"requestsEach"`
	// Peak is the most resident memory until then, in MiB.
	Peak float64 `json:"peakMiB"`
}

// steady is what refreshes cost and how they went, after the first tokens.
type steady struct {
	Seconds   float64 `json:"seconds"`
	Refreshes int     `json:"refreshes"`
	// Requests to the API server by verb and resource, and each refresh's share.
	Requests           map[string]int `json:"requests"`
	RequestsPerRefresh float64        `json:"requestsPerRefresh"`
	// Beside are those that are made whether or not tokens are refreshed.
	Beside map[string]int `json:"requestsBeside"`
	// CPU of the operator, the API server and etcd for each refresh, in milliseconds.
	CPU          float64 `json:"cpuMillisecondsPerRefresh"`
	APIServerCPU float64 `json:"apiServerCPUMillisecondsPerRefresh"`
	EtcdCPU      float64 `json:"etcdCPUMillisecondsPerRefresh"`
	// Late is from the planned instant until the Secret held the new token.
	Late distribution `json:"lateSeconds"`
	// Asked is from the planned instant until the request reached the provider.
	Asked distribution `json:"askedLateSeconds"`
	// Left is the validity of the old token when it was replaced.
	Left distribution `json:"validityLeftSeconds"`
}

// whole is what every token cost that reached a Secret, the first ones and their
// replacements: what can be told also of an operator that never gets to steady refreshes.
type whole struct {
	Tokens           int     `json:"tokens"`
	CPU              float64 `json:"cpuMillisecondsPerToken"`
	RequestsPerToken float64 `json:"requestsPerToken"`
}

// mints of the whole run.
type mints struct {
	Made   int `json:"made"`
	Needed int `json:"needed"`
	// Early replaced a token before it was due; Lost never reached a Secret.
	Early int `json:"early"`
	Lost  int `json:"lost"`
}

// memory of the operator, in MiB.
type memory struct {
	Resident float64 `json:"residentMiB"`
	Peak     float64 `json:"peakMiB"`
	Heap     float64 `json:"heapMiB"`
}

// restart tells how a second process began.
type restart struct {
	Mints    int     `json:"mints"`
	Stopped  float64 `json:"stopSeconds"`
	Planned  float64 `json:"allPlannedSeconds"`
	CPU      float64 `json:"cpuSeconds"`
	Requests int     `json:"requests"`
	Resident float64 `json:"residentMiB"`
}

// foreign tells what Secrets of others cost.
type foreign struct {
	Secrets  int     `json:"secrets"`
	KiB      int     `json:"kibEach"`
	Before   float64 `json:"residentBeforeMiB"`
	After    float64 `json:"residentAfterMiB"`
	Growth   float64 `json:"growthMiB"`
	Requests int     `json:"requests"`
}

// fairness tells what a crowd at a slow host does to others.
type fairness struct {
	Crowd       int     `json:"crowd"`
	CrowdTokens int     `json:"crowdTokensMeanwhile"`
	SlowSeconds float64 `json:"slowHostSeconds"`
	// Alone and Beside are the seconds from the creation of the few until all of them had
	// their first tokens, and the lateness
	// of their refreshes, without and with the crowd.
	Alone      float64      `json:"aloneSeconds"`
	Beside     float64      `json:"besideSeconds"`
	AloneLate  distribution `json:"aloneLateSeconds"`
	BesideLate distribution `json:"besideLateSeconds"`
}

// outage tells how tokens came back after a provider was down.
type outage struct {
	Seconds float64 `json:"downSeconds"`
	// Due is how many tokens had become due meanwhile, Refused the requests that failed.
	Due     int `json:"due"`
	Refused int `json:"refused"`
	// Noticed is the time until the first of them was asked for, Recovered from then on until
	// the last of them was replaced; Bound is Due ÷ the rate + 10 %.
	Noticed   float64 `json:"noticedSeconds"`
	Recovered float64 `json:"recoveredSeconds"`
	Bound     float64 `json:"boundSeconds"`
	// Fastest is the most requests in a second, over any five of them, to be compared with Rate.
	Fastest float64 `json:"mostPerSecond"`
	Rate    int     `json:"ratePerSecond"`
}

// write stores r as JSON.
func (r *result) write(directory string) (string, error) {
	content, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return "", fmt.Errorf("writing the result: %w", err)
	}
	if err := os.MkdirAll(directory, 0o755); err != nil {
		return "", fmt.Errorf("writing the result: %w", err)
	}
	name := r.Scenario
	if r.Peer != "" {
		name = r.Peer + "-" + name
	}
	file := filepath.Join(directory, name+".json")
	return file, os.WriteFile(file, append(content, '\n'), 0o644)
}

// print shows r as a table.
func (r *result) print(w io.Writer) {
	row := func(name, format string, args ...any) {
		_, _ = fmt.Fprintf(w, "  %-34s %s\n", name, fmt.Sprintf(format, args...))
	}
	_, _ = fmt.Fprintf(w, "\n%s: %d tokens of %.0f s and %d bytes, token endpoint with %.0f ms, %s\n",
		r.Scenario, r.Objects, r.Lifetime, r.TokenBytes, r.Latency*1000, r.Limits)
	_, _ = fmt.Fprintf(w, "  on %d CPUs (%s), load before %.2f\n", r.CPUs, r.Machine, r.Load)
	if r.Operator != ours {
		_, _ = fmt.Fprintf(w, "  %s\n", r.Operator)
	}
	if r.Note != "" {
		_, _ = fmt.Fprintf(w, "  %s\n", r.Note)
	}
	if r.FirstTokens.Got > 0 {
		row("first tokens", "%d of %d; half after %.1f s, all after %.1f s", r.FirstTokens.Got, r.Objects, r.FirstTokens.Half, r.FirstTokens.All)
	}
	if f := r.FirstTokens; f.Got > 0 && f.Got == r.Objects {
		each := 1000 / float64(f.Got)
		row("", "each %.1f requests and %.1f ms CPU (API server %.1f ms, etcd %.1f ms)", f.PerOne, each*f.CPU, each*f.APIServerCPU, each*f.EtcdCPU)
		row("", "%s", strings.Join(lines(f.Requests), ", "))
	}
	if s := r.Steady; s.Refreshes > 0 {
		row("refreshes", "%d in %.0f s", s.Refreshes, s.Seconds)
		row("API requests per refresh", "%.3f", s.RequestsPerRefresh)
		for _, line := range lines(s.Requests) {
			row("", "%s", line)
		}
		row("requests beside that", "%s", strings.Join(lines(s.Beside), ", "))
		row("CPU per refresh", "operator %.2f ms, API server %.2f ms, etcd %.2f ms", s.CPU, s.APIServerCPU, s.EtcdCPU)
		row("lateness, until written", "p50 %.2f s, p99 %.2f s, max %.2f s", s.Late.P50, s.Late.P99, s.Late.Max)
		row("lateness, until asked for", "p50 %.2f s, p99 %.2f s, max %.2f s", s.Asked.P50, s.Asked.P99, s.Asked.Max)
		row("validity left when replaced", "min %.1f s, p1 %.1f s, p50 %.1f s", s.Left.Min, s.Left.P1, s.Left.P50)
	}
	if x := r.Whole; x.Tokens > 0 {
		row("all tokens of the run", "%d, each %.2f requests and %.2f ms CPU of the operator", x.Tokens, x.RequestsPerToken, x.CPU)
	}
	row("expired token-seconds", "%.1f in %.0f s", r.Expired, r.Observed)
	row("mints", "%d made, %d needed; %d early, %d lost", r.Mints.Made, r.Mints.Needed, r.Mints.Early, r.Mints.Lost)
	row("memory", "%.0f MiB resident, at most %.0f (%.0f until the first tokens were there); heap in use %.0f MiB",
		r.Memory.Resident, r.Memory.Peak, r.FirstTokens.Peak, r.Memory.Heap)
	r.printExtras(row)
}

func (r *result) printExtras(row func(name, format string, args ...any)) {
	if x := r.Restart; x != nil {
		row("after a restart", "%d mints, all planned within %.1f s (stop %.1f s), %d requests, %.1f s CPU, %.0f MiB resident", x.Mints, x.Planned, x.Stopped, x.Requests, x.CPU, x.Resident)
	}
	if x := r.Foreign; x != nil {
		row("foreign Secrets", "%d of %d KiB: %+.1f MiB (%.1f → %.1f), %d requests", x.Secrets, x.KiB, x.Growth, x.Before, x.After, x.Requests)
	}
	if x := r.Fairness; x != nil {
		row("the few: first tokens", "%.2f s alone, %.2f s beside %d on a host that takes %.0f s (%d of those had theirs)", x.Alone, x.Beside, x.Crowd, x.SlowSeconds, x.CrowdTokens)
		row("the few: lateness of refreshes", "p99 %.2f s alone (%d), %.2f s beside (%d)", x.AloneLate.P99, x.AloneLate.N, x.BesideLate.P99, x.BesideLate.N)
	}
	if x := r.Outage; x != nil {
		row("outage", "down for %.0f s, %d came due, %d requests failed; noticed after %.1f s, all fresh after further %.1f s (bound %.1f s), at most %.0f per second (limit %d)",
			x.Seconds, x.Due, x.Refused, x.Noticed, x.Recovered, x.Bound, x.Fastest, x.Rate)
	}
}

// lines are counts, as "n what", the largest first.
func lines(counts map[string]int) []string {
	r := requests{}
	for name, n := range counts {
		verb, resource, _ := strings.Cut(name, " ")
		r[kind{verb, resource}] = n
	}
	var found []string
	for _, k := range r.kinds() {
		found = append(found, fmt.Sprintf("%d %s", r[k], k))
	}
	return found
}

func named(r requests) map[string]int {
	found := map[string]int{}
	for k, n := range r {
		found[k.String()] = n
	}
	return found
}
