package exchange

import "time"

// entry is a job that is queued or running.
type entry struct {
	Job
	order   uint64 // of submission
	running bool
	host    *host
	lane    *lane // while queued
	index   int
}

func (e *entry) before(other *entry) bool {
	if !e.Expires.Equal(other.Expires) {
		return e.Expires.Before(other.Expires)
	}
	return e.order < other.order
}

func (e *entry) place() *int { return &e.index }

// queue holds jobs for one host and is fair between namespaces: in each round
// every namespace that has a job gets one start; within a round the namespace
// with the nearest expiry goes first, and within a namespace the job with the
// nearest expiry. So with one namespace it is plainly "nearest expiry first",
// and with several a namespace that submits a thousand urgent jobs delays another
// by one start a round. (This is start-time fair queueing with unit costs.)
type queue struct {
	round uint64 // of the lane that was served last
	lanes map[string]*lane
	ready sorted[*lane] // lanes that have jobs and are not parked
	size  int           // jobs
}

// lane is the queue of one namespace at one host.
type lane struct {
	queue     *queue
	host      *host
	namespace string
	round     uint64 // in which it is served next
	suspect   bool   // its namespace failed in the host's outage
	parked    bool   // its namespace has as many jobs in flight as it may
	jobs      sorted[*entry]
	index     int
}

func (l *lane) before(other *lane) bool {
	if l.suspect != other.suspect {
		return other.suspect
	}
	if l.round != other.round {
		return l.round < other.round
	}
	mine, _ := l.jobs.first()
	others, _ := other.jobs.first()
	return mine.before(others)
}

func (l *lane) place() *int { return &l.index }

// add queues e.
func (q *queue) add(e *entry) {
	if q.lanes == nil {
		q.lanes = map[string]*lane{}
	}
	l := q.lanes[e.Namespace]
	if l == nil {
		l = &lane{queue: q, host: e.host, namespace: e.Namespace, suspect: e.host.suspects(e.Namespace)}
		q.lanes[e.Namespace] = l
	}
	e.lane = l
	l.jobs.put(e)
	q.size++
	q.settle(l)
}

// remove takes e out of the queue.
func (q *queue) remove(e *entry) {
	l := e.lane
	// While the lane is sorted by this job it must not lose it.
	q.ready.remove(l)
	l.jobs.remove(e)
	e.lane = nil
	q.size--
	q.settle(l)
}

// take removes the first job of l and counts it as the namespace's start in this round.
func (q *queue) take(l *lane) *entry {
	e, _ := l.jobs.first()
	q.round = l.round
	l.round++
	q.remove(e)
	return e
}

// move changes the expiry of a queued job.
func (q *queue) move(e *entry, expires time.Time) {
	q.ready.remove(e.lane)
	e.Expires = expires
	e.lane.jobs.put(e)
	q.settle(e.lane)
}

// settle puts a lane where it belongs after a change.
func (q *queue) settle(l *lane) {
	if q.size == 0 {
		// Lanes are kept while others wait, or a namespace that submits one job at a
		// time would come first in every round.
		q.lanes = nil
		q.round = 0
	}
	if l.parked || l.jobs.len() == 0 {
		q.ready.remove(l)
		return
	}
	l.round = max(l.round, q.round)
	q.ready.put(l)
}

// park keeps a lane from being served until its namespace has a job in flight less.
func (q *queue) park(l *lane) {
	l.parked = true
	q.ready.remove(l)
}

func (q *queue) unpark(l *lane) {
	l.parked = false
	q.settle(l)
}

// suspect marks a namespace's lane, if there is one, to come after those of
// namespaces about which nothing bad is known.
func (q *queue) suspect(namespace string, suspect bool) {
	l := q.lanes[namespace]
	if l == nil {
		return
	}
	q.ready.remove(l)
	l.suspect = suspect
	q.settle(l)
}
