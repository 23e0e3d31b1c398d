package main

import (
	"math"
	"time"

	"github.com/providertoken/operator/internal/schedule"
)

// Limits that the estimates are judged by.
const (
	// tokenBytes is the length of a token: a JWT of middling size.
	tokenBytes = 1000
	// replicas of each shard: both of them watch.
	replicas = 2
	// shardMemory is what the shipped limit of 512 MiB leaves in peaks, and shardCores what
	// one leader should need on average, so that a burst finds room.
	shardMemory = 400 << 20
	// largeMemory is the same of a limit of 8 GiB.
	largeMemory = 6400 << 20
	shardCores  = 1.0
	// compaction is how long etcd keeps what was overwritten: kube-apiserver's
	// --etcd-compaction-interval.
	compaction = 5 * time.Minute
	// quota is etcd's default, and largeQuota the largest that its documentation suggests.
	quota      = 2 << 30
	largeQuota = 8 << 30
	// writeRate is what an etcd of three members on good disks does beside its other work.
	writeRate = 2000
	// hostRate is a host's default limit, for each shard.
	hostRate = 20
	// leaseWrites and standbyReads are those of the leader election of one shard, in a second.
	leaseWrites  = 0.5
	standbyReads = 1.25
	// platformCredentials is the number of credential Secrets where the platform holds them.
	platformCredentials = 100
	// cores of the API servers that tokens may take.
	cores = 16
)

// fleet is what is to be estimated.
type fleet struct {
	tokens   float64
	lifetime time.Duration
}

func fleets() []fleet {
	return []fleet{
		{10_000, 5 * time.Minute},
		{100_000, time.Hour},
		{100_000, 5 * time.Minute},
		{1_000_000, 24 * time.Hour},
		{1_000_000, time.Hour},
		{1_000_000, 5 * time.Minute},
	}
}

// estimate is what a fleet costs.
type estimate struct {
	fleet
	// period between two refreshes of a token.
	period time.Duration
	// refreshes, requests, writes and firstRequests in a second, or in all.
	refreshes, requests, writes float64
	// written is what etcd takes in a second, and watched what the API servers send to the
	// operators, in bytes.
	written, watched float64
	// stored is what etcd holds when nothing changes, and history what it holds besides of
	// what was overwritten since the last compaction, in bytes.
	stored, history float64
	// shards that are needed, and the memory of each replica in bytes.
	shards int
	memory float64
	// large is how many shards are needed with largeMemory instead.
	large int
	// memoryOwn and largeOwn are the memory of each replica where every token has a
	// credential Secret of its own, which every shard watches.
	memoryOwn, largeOwn float64
	// cores that are busy on average.
	operatorCores, apiCores, etcdCores float64
	// hosts that the tokens must be spread over with default limits, so that a refresh
	// never waits; first is how long first tokens take then.
	hosts int
	first time.Duration
}

func (c costs) estimate(f fleet) estimate {
	e := estimate{fleet: f, period: period(f.lifetime)}
	e.refreshes = f.tokens / e.period.Seconds()
	target := c.Objects.TargetBytesBesideTokens + c.Objects.TokenCopies*tokenBytes
	versions := target + c.Objects.ProviderTokenBytes
	e.operatorCores = e.refreshes * c.Refresh.OperatorCPUMillis / 1000
	e.apiCores = e.refreshes * c.Refresh.APIServerCPUMillis / 1000
	e.etcdCores = e.refreshes * c.Refresh.EtcdCPUMillis / 1000

	fixed := c.Operator.FixedMiB*(1<<20) + platformCredentials*c.Operator.BytesPerCredential
	byMemory := math.Ceil(f.tokens * c.Operator.BytesPerToken / (shardMemory - fixed))
	e.shards = int(max(byMemory, math.Ceil(e.operatorCores/shardCores), 1))
	e.large = int(max(math.Ceil(f.tokens*c.Operator.BytesPerToken/(largeMemory-fixed)), math.Ceil(e.operatorCores/shardCores), 1))
	n := float64(e.shards)
	e.memory = fixed + f.tokens/n*c.Operator.BytesPerToken
	e.memoryOwn = e.memory + f.tokens*c.Operator.BytesPerCredential
	e.largeOwn = fixed + f.tokens/float64(e.large)*c.Operator.BytesPerToken + f.tokens*c.Operator.BytesPerCredential

	e.requests = e.refreshes*c.Refresh.APIRequests + n*(leaseWrites+standbyReads)
	e.writes = e.refreshes*c.Refresh.EtcdWrites + n*leaseWrites
	e.written = e.refreshes * versions
	e.watched = e.refreshes * versions * replicas
	e.stored = f.tokens * (versions + c.Objects.CredentialBytes)
	e.history = e.written * compaction.Seconds()
	e.hosts = int(math.Ceil(e.refreshes / (hostRate * n)))
	e.first = time.Duration(f.tokens / (hostRate * n * float64(e.hosts)) * float64(time.Second))
	return e
}

// period is the mean time between two refreshes: the schedule's own, over many seeds.
func period(lifetime time.Duration) time.Duration {
	const seeds = 1000
	issued := time.Unix(0, 0)
	var sum time.Duration
	for i := range seeds {
		seed := schedule.Seed(string(rune('a'+i%26))+time.Duration(i).String(), issued)
		sum += schedule.RefreshAt(issued, issued.Add(lifetime), schedule.Policy{}, seed).Sub(issued)
	}
	return (sum / seeds).Round(time.Second)
}

// bound is something that gives way, and how much of it is used.
type bound struct {
	name string
	used float64
	// raised is the same with what docs/scaling.md says about it; zero when nothing helps.
	raised float64
}

// bounds of an estimate, the tightest first.
func (e estimate) bounds() []bound {
	size := e.stored + e.history
	all := []bound{
		{"etcd's size", size / quota, (e.stored + e.history/5) / largeQuota},
		{"etcd's writes", e.writes / writeRate, e.writes / (2 * writeRate)},
		{"the API servers' CPU", e.apiCores / cores, e.apiCores / (3 * cores)},
	}
	for i := range all {
		for j := i; j > 0 && all[j].used > all[j-1].used; j-- {
			all[j], all[j-1] = all[j-1], all[j]
		}
	}
	return all
}
