package exchange

import "time"

// Load is a moment of one host, with the expiries for which its queued jobs wait.
type Load struct {
	Host            string
	Down, Throttled bool
	Running         int
	// None, Soon and Routine count queued jobs: without a valid token, with one that
	// expires within the given time, and others.
	None, Soon, Routine int
}

// Load tells of every host that is known. It looks at every queued job: call it when
// metrics are collected, not more often.
func (s *Scheduler) Load(soon time.Duration) []Load {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.clock.Now()
	byHost := make(map[*host]*Load, len(s.hosts))
	for _, h := range s.hosts {
		byHost[h] = &Load{Host: h.name, Down: h.outage.down, Throttled: now.Before(h.pausedUntil), Running: h.running}
	}
	for _, e := range s.entries {
		l := byHost[e.host]
		switch {
		case e.running || l == nil:
		case !now.Before(e.Expires):
			l.None++
		case e.Expires.Sub(now) < soon:
			l.Soon++
		default:
			l.Routine++
		}
	}
	loads := make([]Load, 0, len(byHost))
	for _, l := range byHost {
		loads = append(loads, *l)
	}
	return loads
}
