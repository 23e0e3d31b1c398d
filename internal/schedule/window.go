package schedule

import "time"

// Window is when a token of that lifetime is refreshed, whatever the seed: from and to
// after its issue, give or take a second. early tells that it is MinimumLead that
// decides, and not AtPercent. It words RefreshAt for people.
func Window(lifetime time.Duration, p Policy) (from, to time.Duration, early bool) {
	p = p.Effective()
	early = lifetime-p.MinimumLead < p.share(lifetime)
	wanted := min(p.share(lifetime), lifetime-p.MinimumLead)
	floor := max(earliest(lifetime), min(p.MinimumInterval, p.latest(lifetime)))
	return max(wanted-lifetime/10, floor), max(wanted, floor), early
}
