package crash

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"
)

const (
	// loginWindow is the quarter of an hour in which a login may fail twice.
	loginWindow = 15 * time.Minute
	// prompt is how long a token may wait to be written by an operator that is alive.
	prompt = 15 * time.Second
	// transit is how long a request may be on its way to a provider.
	transit = 2 * time.Second
	// sight is within what time an operator that is alive sees an edit.
	sight = 5 * time.Second
)

// chronicle is what happened to tokens, as those saw it who are not the operator:
// the provider (mints), the API server (versions, freezes), its clients (deeds) and
// who ends processes. An object is namespace/name of a ProviderToken; its target
// has the same name. Only audit judges.
type chronicle struct {
	mu       sync.Mutex
	mints    []mint
	freezes  map[string][]freeze
	versions []version
	deeds    []deed
	// writes of operators that the API server committed, by resource version.
	writes map[string]write
	// ends of processes.
	ends map[int]time.Time
}

// mint is a token that a provider issued.
type mint struct {
	object  string
	process int
	// sent is when the request arrived, answered when the token was made.
	sent, answered time.Time
	token          string
	expires        time.Time
}

// freeze is for how long an object said that its login is frozen; until is zero while it is.
type freeze struct{ from, until time.Time }

// version of a target, as a watch showed it.
type version struct {
	object, revision string
	// seen is when the watch showed it, and stamped what the API server says (whole seconds).
	seen, stamped time.Time
	gone          bool
	token         string
	handled       string
	refreshAt     time.Time
}

// write is who wrote a version, and when the API server had committed it.
type write struct {
	process int
	at      time.Time
}

// kind of a deed.
type kind string

const (
	edited        kind = "spec edited"
	requested     kind = "refresh requested"
	removed       kind = "ProviderToken deleted"
	recreated     kind = "ProviderToken made again"
	targetRemoved kind = "target deleted"
	targetEdited  kind = "target edited"
)

// deed of a person.
type deed struct {
	kind        kind
	object      string
	began, done time.Time
	// value of a refresh request, revision of a target that was edited.
	value, revision string
}

func newChronicle() *chronicle {
	return &chronicle{writes: map[string]write{}, ends: map[int]time.Time{}, freezes: map[string][]freeze{}}
}

func (c *chronicle) minted(m mint) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mints = append(c.mints, m)
}

// froze books whether an object says that its login is frozen.
func (c *chronicle) froze(object string, is bool, at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := c.freezes[object]
	open := len(all) > 0 && all[len(all)-1].until.IsZero()
	switch {
	case is && !open:
		c.freezes[object] = append(all, freeze{from: at})
	case !is && open:
		all[len(all)-1].until = at
	}
}

// frozen are the objects of which that was true for longer than that at a stretch.
func (c *chronicle) frozen(longer time.Duration, now time.Time) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var found []string
	for object, all := range c.freezes {
		if slices.ContainsFunc(all, func(f freeze) bool {
			until := f.until
			if until.IsZero() {
				until = now
			}
			return until.Sub(f.from) > longer
		}) {
			found = append(found, object)
		}
	}
	slices.Sort(found)
	return found
}

func (c *chronicle) saw(v version) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.versions = append(c.versions, v)
}

func (c *chronicle) did(d deed) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deeds = append(c.deeds, d)
}

func (c *chronicle) wrote(revision string, w write) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writes[revision] = w
}

// ended books the end of a process; what comes later of the same one does not count.
func (c *chronicle) ended(process int, at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.ends[process]; !known {
		c.ends[process] = at
	}
}

// latest is the version of a target that was seen last.
func (c *chronicle) latest(object string) (version, write, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, v := range slices.Backward(c.versions) {
		if v.object == object {
			return v, c.writes[v.revision], true
		}
	}
	return version{}, write{}, false
}

// least is how long the token works that ends first of those in targets now.
func (c *chronicle) least(now time.Time) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	expires, held := map[string]time.Time{}, map[string]time.Time{}
	for _, m := range c.mints {
		expires[m.token] = m.expires
	}
	for _, v := range c.versions {
		if at, known := expires[v.token]; known && !v.gone {
			held[v.object] = at
		} else {
			delete(held, v.object)
		}
	}
	least := time.Hour
	for object, at := range held {
		frozen := c.freezes[object]
		if len(frozen) == 0 || !frozen[len(frozen)-1].until.IsZero() {
			least = min(least, at.Sub(now))
		}
	}
	return least
}

// balance is what an audit found.
type balance struct {
	Mints int
	// Published tokens reached the target. InFlight are those that a process had when
	// it ended, and Dropped those that an edit made worthless on their way.
	Published, InFlight, Dropped int
	// Needs that the mints served.
	Needs map[string]int
	// Double are mints that nothing called for, and tokens that a living operator forgot.
	Double []string
	// Lost are tokens that were removed from a target, or replaced by a worse one.
	Lost []string
	// Odd is what the books do not explain.
	Odd []string
	// Expired is how long targets held expired tokens, all together; Held is the part of it
	// in which a login was frozen.
	Expired, Held time.Duration
	Late          []string
	Versions      int
	Targets       int
}

// needed is how many mints there had to be.
func (b *balance) needed() int { return b.Published + b.InFlight + b.Dropped }

// audit judges everything until end.
func (c *chronicle) audit(end time.Time) *balance {
	c.mu.Lock()
	defer c.mu.Unlock()
	b := &balance{Needs: map[string]int{}, Mints: len(c.mints), Versions: len(c.versions)}
	objects := map[string]*history{}
	of := func(object string) *history {
		if objects[object] == nil {
			objects[object] = &history{object: object, ends: c.ends, end: end}
		}
		return objects[object]
	}
	for _, m := range c.mints {
		of(m.object).mints = append(of(m.object).mints, m)
	}
	for object, all := range c.freezes {
		of(object).freezes = all
	}
	for _, d := range c.deeds {
		of(d.object).deeds = append(of(d.object).deeds, d)
	}
	for _, v := range c.versions {
		of(v.object).see(v, c.writes)
	}
	for _, name := range slices.Sorted(maps.Keys(objects)) {
		objects[name].judge(b)
	}
	b.Targets = len(objects)
	return b
}

// history is the part of a chronicle about one object.
type history struct {
	object  string
	mints   []mint
	freezes []freeze
	deeds   []deed
	states  []state
	ends    map[int]time.Time
	end     time.Time
}

// state of a target, from at until the next one.
type state struct {
	version
	at      time.Time
	process int // who wrote it; 0 for a person, -1 for nobody knows whom
}

// see adds a version, with who wrote it.
func (h *history) see(v version, writes map[string]write) {
	s := state{version: v, at: v.seen, process: -1}
	if w, ok := writes[v.revision]; ok && !v.gone {
		s.process = w.process
		if w.at.Before(s.at) {
			s.at = w.at
		}
	}
	for _, d := range h.deeds {
		if d.kind == targetEdited && d.revision == v.revision || d.kind == targetRemoved && v.gone && !v.seen.Before(d.began) && v.seen.Before(d.done.Add(sight)) {
			s.process = 0
		}
	}
	h.states = append(h.states, s)
}

func (h *history) judge(b *balance) {
	slices.SortStableFunc(h.states, func(x, y state) int { return cmp.Compare(number(x.revision), number(y.revision)) })
	slices.SortStableFunc(h.mints, func(x, y mint) int { return x.answered.Compare(y.answered) })
	slices.SortStableFunc(h.deeds, func(x, y deed) int { return x.began.Compare(y.began) })
	h.judgeStates(b)
	h.judgeMints(b)
	h.judgeTime(b)
}

// number orders resource versions (KEP-5504: they are comparable as integers).
func number(revision string) uint64 {
	n, _ := strconv.ParseUint(revision, 10, 64)
	return n
}

// rank of a token among those of this object, from 1; 0 for one that is none of them.
func (h *history) rank(token string) int {
	return slices.IndexFunc(h.mints, func(m mint) bool { return m.token == token }) + 1
}

// judgeStates looks at every version that the operator is responsible for.
func (h *history) judgeStates(b *balance) {
	best := 0
	for _, s := range h.states {
		if s.process == 0 {
			continue
		}
		if s.stamped.After(s.seen.Add(time.Second)) {
			b.odd("%s: version %s is stamped after it was seen", h.object, s.revision)
		}
		if s.process < 0 {
			b.odd("%s: nobody knows who made version %s (gone: %t)", h.object, s.revision, s.gone)
		}
		rank := h.rank(s.token)
		switch {
		case s.gone || s.token == "":
			b.lost("%s: version %s holds no token", h.object, s.revision)
			continue
		case rank == 0:
			b.lost("%s: version %s holds a token that was not issued for it", h.object, s.revision)
			continue
		case rank < best:
			b.lost("%s: version %s, by process %d, holds token %d, after token %d", h.object, s.revision, s.process, rank, best)
		case !s.at.Before(h.mints[rank-1].expires):
			b.lost("%s: version %s holds a token that had expired", h.object, s.revision)
		}
		best = max(best, rank)
	}
}

// judgeMints finds the need for each mint, and what became of its token.
func (h *history) judgeMints(b *balance) {
	served := -1 // the last edit that a mint has served
	for i, m := range h.mints {
		why, edit := h.need(m, served)
		b.Needs[why]++
		published := slices.ContainsFunc(h.states, func(s state) bool { return s.process != 0 && s.token == m.token })
		switch {
		case why == "":
			b.double("%s: process %d minted token %d at %s, and nothing called for it%s", h.object, m.process, i+1, stampOf(m.sent), h.around(m.sent))
			delete(b.Needs, "")
			if published {
				b.Published++
			}
			continue
		case published:
			b.Published++
			served = max(served, edit, h.editBefore(m.sent.Add(-sight)))
		case h.overtaken(m):
			b.Dropped++
		default:
			h.judgeUnpublished(b, i, m)
		}
	}
}

// judgeUnpublished is for tokens that must have been in flight when their process ended.
func (h *history) judgeUnpublished(b *balance, i int, m mint) {
	again := slices.ContainsFunc(h.mints[i+1:], func(n mint) bool { return n.process == m.process })
	end, over := h.ends[m.process]
	switch {
	case again:
		b.double("%s: process %d forgot token %d and minted another one", h.object, m.process, i+1)
	case !over:
		b.double("%s: token %d was never written, and process %d lives", h.object, i+1, m.process)
	case m.sent.After(end.Add(transit)):
		b.double("%s: process %d minted token %d after it had been stopped", h.object, m.process, i+1)
	case end.Sub(m.answered) > prompt:
		b.double("%s: token %d was not written for %s", h.object, i+1, end.Sub(m.answered).Round(time.Millisecond))
	default:
		b.InFlight++
	}
}

// overtaken tells whether a person made the token of m worthless before it was written.
func (h *history) overtaken(m mint) bool {
	return slices.ContainsFunc(h.deeds, func(d deed) bool {
		return (d.kind == edited || d.kind == removed) && !d.done.Before(m.sent.Add(-sight)) && d.began.Before(m.answered.Add(prompt))
	})
}

// editBefore is the last edit that began before at; -1 when none did.
func (h *history) editBefore(at time.Time) int {
	last := -1
	for i, d := range h.deeds {
		if d.kind == edited && d.began.Before(at) {
			last = i
		}
	}
	return last
}

// need is what called for a mint; empty when nothing did. edit is the edit that it
// serves, -1 when it is none.
func (h *history) need(m mint, served int) (why string, edit int) {
	last, broken := h.before(m)
	if last == nil {
		return "first token", -1
	}
	if !last.refreshAt.IsZero() && !m.sent.Before(last.refreshAt) {
		return "due", -1
	}
	for _, d := range slices.Backward(h.deeds) {
		if d.kind == requested && d.began.Before(m.sent) {
			if d.value != last.handled {
				return "requested", -1
			}
			break
		}
	}
	if edit := h.editBefore(m.sent); edit > served {
		return "spec edited", edit
	}
	if broken && (last.process != m.process || h.recreatedSince(last.at, m.sent)) {
		return "target gone or edited, and a new process", -1
	}
	return "", -1
}

// around tells what happened shortly before and after, for people.
func (h *history) around(at time.Time) string {
	near := func(t time.Time) bool { return t.Sub(at).Abs() < 2*prompt }
	text := ""
	for _, s := range h.states {
		if near(s.at) {
			text += fmt.Sprintf("\n  %s version %s by %d, token %d, handled %q, due %s, gone %t", stampOf(s.at), s.revision, s.process, h.rank(s.token), s.handled, stampOf(s.refreshAt), s.gone)
		}
	}
	for i, m := range h.mints {
		if near(m.sent) {
			text += fmt.Sprintf("\n  %s token %d minted by %d", stampOf(m.sent), i+1, m.process)
		}
	}
	for _, d := range h.deeds {
		if near(d.began) {
			text += fmt.Sprintf("\n  %s %s %s", stampOf(d.began), d.kind, d.value)
		}
	}
	return text
}

// before is the last version of the operator's before m, and whether somebody took
// it away or spoiled it since.
func (h *history) before(m mint) (last *state, broken bool) {
	for i := range h.states {
		s := &h.states[i]
		if s.at.After(m.sent) {
			break
		}
		if end, over := h.ends[s.process]; over && s.at.After(end) && s.process != m.process && m.sent.Sub(s.at) < transit {
			continue // a write of a process that is no more, which came when the next one had decided
		}
		if s.process != 0 {
			last, broken = s, false
		} else {
			broken = true
		}
	}
	return last, broken
}

func (h *history) recreatedSince(from, to time.Time) bool {
	return slices.ContainsFunc(h.deeds, func(d deed) bool {
		return d.kind == recreated && d.done.After(from) && d.began.Before(to)
	})
}

// judgeTime adds up for how long the target held an expired token while there was
// somebody to hold it for.
func (h *history) judgeTime(b *balance) {
	for i, s := range h.states {
		rank := h.rank(s.token)
		if s.gone || rank == 0 {
			continue
		}
		until := h.end
		if i+1 < len(h.states) {
			// When others saw it, which is never too early.
			until = h.states[i+1].seen
		}
		from := s.at
		if e := h.mints[rank-1].expires; e.After(from) {
			from = e
		}
		late := until.Sub(from) - h.absence(from, until)
		if late <= 0 {
			continue
		}
		b.Expired += late
		note := fmt.Sprintf("%s: token %d was expired for %s from %s on", h.object, rank, late.Round(time.Millisecond), stampOf(from))
		for _, f := range h.freezes {
			if f.until.IsZero() {
				f.until = h.end
			}
			b.Held += overlap(f.from, f.until, from, until)
		}
		b.Late = append(b.Late, note)
	}
}

// absence is how much of the time there was no ProviderToken.
func (h *history) absence(from, until time.Time) time.Duration {
	var sum time.Duration
	var since time.Time
	for _, d := range h.deeds {
		switch {
		case d.kind == removed:
			since = d.began
		case d.kind == recreated && !since.IsZero():
			sum += overlap(since, d.done, from, until)
			since = time.Time{}
		}
	}
	if !since.IsZero() {
		sum += overlap(since, until, from, until)
	}
	return sum
}

func overlap(a, b, from, until time.Time) time.Duration {
	if a.Before(from) {
		a = from
	}
	if b.After(until) {
		b = until
	}
	return max(b.Sub(a), 0)
}

func (b *balance) double(format string, args ...any) {
	b.Double = append(b.Double, fmt.Sprintf(format, args...))
}

func (b *balance) lost(format string, args ...any) {
	b.Lost = append(b.Lost, fmt.Sprintf(format, args...))
}

func (b *balance) odd(format string, args ...any) {
	b.Odd = append(b.Odd, fmt.Sprintf(format, args...))
}

func stampOf(t time.Time) string { return t.UTC().Format("15:04:05.000") }

// mostWithin is how many instants, which are in order, fall into one window at most.
func mostWithin(at []time.Time, window time.Duration) int {
	most, first := 0, 0
	for i := range at {
		for at[i].Sub(at[first]) >= window {
			first++
		}
		most = max(most, i-first+1)
	}
	return most
}
