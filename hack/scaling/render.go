package main

import (
	"fmt"
	"strings"
	"time"
)

// render writes the tables.
func render(c costs) string {
	var all []estimate
	for _, f := range fleets() {
		all = append(all, c.estimate(f))
	}
	var b strings.Builder
	head, line := "| |", "|---|"
	for _, e := range all {
		head += fmt.Sprintf(" %s × %s |", count(e.tokens), span(e.lifetime))
		line += "---|"
	}
	b.WriteString(head + "\n" + line + "\n")
	row := func(name string, value func(estimate) string) {
		b.WriteString("| " + name + " |")
		for _, e := range all {
			b.WriteString(" " + value(e) + " |")
		}
		b.WriteString("\n")
	}
	row("a token is replaced every", func(e estimate) string { return span(e.period) })
	row("refreshes a second", func(e estimate) string { return rate(e.refreshes) })
	row("API requests a second", func(e estimate) string { return rate(e.requests) })
	row("etcd writes a second", func(e estimate) string { return rate(e.writes) })
	row("written to etcd", func(e estimate) string { return size(e.written) + "/s" })
	row("watch traffic to operators", func(e estimate) string { return size(e.watched) + "/s" })
	row("etcd: objects + 5 min of history", func(e estimate) string { return size(e.stored) + " + " + size(e.history) })
	row("CPU: operators / API servers / etcd, cores", func(e estimate) string {
		return fmt.Sprintf("%s / %s / %s", rate(e.operatorCores), rate(e.apiCores), rate(e.etcdCores))
	})
	row("**shards** (of two replicas)", func(e estimate) string { return fmt.Sprintf("**%d**", e.shards) })
	row("memory of a replica", func(e estimate) string { return size(e.memory) })
	row("… with a credential Secret for each token", func(e estimate) string { return size(e.memoryOwn) })
	row("shards with a memory limit of 8 GiB", func(e estimate) string { return fmt.Sprint(e.large) })
	row("… their memory, with a credential Secret for each token", func(e estimate) string { return size(e.largeOwn) })
	row("hosts, at 20 a second from each shard", func(e estimate) string { return fmt.Sprint(e.hosts) })
	row("first tokens of all, then", func(e estimate) string { return span(e.first) })
	row("**tightest** (used)", func(e estimate) string {
		first := e.bounds()[0]
		return fmt.Sprintf("%s: %s", first.name, percent(first.used))
	})
	row("… after what is said below", func(e estimate) string {
		var most bound
		for _, bound := range e.bounds() {
			if bound.raised > most.raised {
				most = bound
			}
		}
		return fmt.Sprintf("%s: %s", most.name, percent(most.raised))
	})
	fmt.Fprintf(&b, "\nFrom [benchmarks/costs.json](benchmarks/costs.json) (%s; %s): a refresh makes %g API requests and %g writes, and takes %g ms of the operator's CPU, %g ms of the API "+
		"server's and %g ms of etcd's; an operator takes %g MiB and %g bytes a token. Tokens of %d bytes.\n",
		c.Source, c.Machine, c.Refresh.APIRequests, c.Refresh.EtcdWrites, c.Refresh.OperatorCPUMillis, c.Refresh.APIServerCPUMillis, c.Refresh.EtcdCPUMillis,
		c.Operator.FixedMiB, c.Operator.BytesPerToken, tokenBytes)
	return b.String()
}

func count(n float64) string {
	text := fmt.Sprintf("%.0f", n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

func span(d time.Duration) string {
	switch {
	case d >= 2*time.Hour:
		return fmt.Sprintf("%.3g h", d.Hours())
	case d >= 2*time.Minute:
		return fmt.Sprintf("%.3g min", d.Minutes())
	default:
		return fmt.Sprintf("%.0f s", d.Seconds())
	}
}

func rate(v float64) string {
	switch {
	case v >= 100:
		return count(v)
	case v >= 10:
		return fmt.Sprintf("%.0f", v)
	default:
		return fmt.Sprintf("%.1f", v)
	}
}

func size(bytes float64) string {
	switch {
	case bytes >= 1<<30:
		return fmt.Sprintf("%.1f GiB", bytes/(1<<30))
	case bytes >= 10<<20:
		return fmt.Sprintf("%.0f MiB", bytes/(1<<20))
	default:
		return fmt.Sprintf("%.1f MiB", bytes/(1<<20))
	}
}

func percent(v float64) string { return fmt.Sprintf("%.0f %%", 100*v) }
