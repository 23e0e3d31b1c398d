package main

import (
	"context"
	"fmt"
	"time"
)

// The course of an outage, from the operator's start: with tokens of 150 s, of which the
// first come due after 88 s, all of them come due meanwhile or soon after.
const (
	outageBegins = 80 * time.Second
	outageEnds   = 120 * time.Second
	// rateOver is the time over which requests are counted where they arrive: they begin
	// evenly, and arrive as the machine and the network let them.
	rateOver = 5 * time.Second
	// recovery is the longest that is waited for.
	recovery = 2 * time.Minute
)

// outageScenario lets the provider fail for a while, in which most tokens come due, and
// measures how they are replaced when it is back.
func outageScenario(ctx context.Context, sub subject, w workload) (*result, error) {
	s, clean, err := set(ctx, sub, w)
	r := s.basics()
	if err == nil {
		err = s.alike(ctx)
	}
	if err == nil {
		err = s.failing(ctx, r)
	}
	return r, finish(s, err, clean)
}

func (s *stage) failing(ctx context.Context, r *result) error {
	before, err := s.read(ctx)
	if err != nil {
		return err
	}
	if err := s.start(); err != nil {
		return err
	}
	down, up := s.operator.began.Add(outageBegins), s.operator.began.Add(outageEnds)
	if err := s.awaitFirst(ctx, r, before, down); err != nil {
		return err
	}
	if r.FirstTokens.Got < s.workload.objects {
		return fmt.Errorf("only %d of %d first tokens before the outage was to begin: take fewer, or a higher rate", r.FirstTokens.Got, s.workload.objects)
	}
	if err := s.pass(ctx, down); err != nil {
		return err
	}
	s.provider.setDown(true)
	s.say("the provider is down")
	if err := s.pass(ctx, up); err != nil {
		return err
	}
	s.provider.setDown(false)
	s.say("the provider is back")
	fresh := func() bool { return len(s.ledger.replaced("", span{down, time.Now()})) >= s.workload.objects }
	if err := s.until(ctx, up.Add(recovery), fresh); err != nil {
		return err
	}
	if err := s.pass(ctx, time.Now().Add(settling)); err != nil {
		return err
	}
	r.Outage = s.recovered(up)
	s.conclude(ctx, r, time.Now())
	return nil
}

// recovered judges what followed the end of an outage.
func (s *stage) recovered(up time.Time) *outage {
	x := &outage{Seconds: (outageEnds - outageBegins).Seconds(), Rate: s.rate, Refused: s.provider.refusals()}
	all := s.ledger.replaced("", span{up, time.Now()})
	// What comes due when all are fresh is none of it.
	all = all[:min(len(all), s.workload.objects)]
	if x.Due = len(all); x.Due == 0 {
		return x
	}
	first, last := all[0].asked, all[0].done
	for _, one := range all {
		if one.asked.Before(first) {
			first = one.asked
		}
		if one.done.After(last) {
			last = one.done
		}
	}
	x.Noticed = rounded(first.Sub(up))
	x.Recovered = rounded(last.Sub(first))
	x.Bound = 1.1 * float64(x.Due) / float64(s.rate)
	x.Fastest = float64(busiest(s.provider.arrivalsSince(up), rateOver)) / rateOver.Seconds()
	return x
}

// busiest is the most instants within a window of that length; they are in order.
func busiest(instants []time.Time, window time.Duration) int {
	most, first := 0, 0
	for i, at := range instants {
		for at.Sub(instants[first]) >= window {
			first++
		}
		most = max(most, i-first+1)
	}
	return most
}
