package providersim_test

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/providertoken/operator/internal/providersim"
)

func TestScriptsAnswerInTheProvidersPlace(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		script      providersim.Script
		status      int
		contentType string
		header      http.Header
		body        string // prefix
	}{
		"status with a header": {
			script: providersim.Status(429, providersim.RetryAfter("30")), status: 429, header: http.Header{"Retry-After": {"30"}},
		},
		"JSON":        {script: providersim.JSON(400, `{"error":"x"}`), status: 400, contentType: "application/json", body: `{"error":"x"}`},
		"HTML":        {script: providersim.HTML(502), status: 502, contentType: "text/html; charset=utf-8", body: "<!DOCTYPE html>"},
		"garbage":     {script: providersim.Garbage200(), status: 200, contentType: "application/json", body: `{"access_token": ` + "\x00"},
		"nothing":     {script: providersim.Empty200(), status: 200},
		"a redirect":  {script: providersim.Redirect("https://other.example/"), status: 307, header: http.Header{"Location": {"https://other.example/"}}},
		"too much":    {script: providersim.Oversized(1 << 17), status: 200, contentType: "application/json", body: `{"padding":"xxx`},
		"a gzip bomb": {script: providersim.GzipBomb(1 << 17), status: 200, contentType: "application/json", body: `{"padding":"xxx`},
		"throttling":  {script: providersim.TooManyRequests(), status: 400, contentType: "application/json", body: `{"error":"TooManyRequestsException"}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, providersim.Options{})
			b.Generic.Next(c.script)
			a := b.send(t, b.generic())
			if a.status != c.status || a.header.Get("Content-Type") != c.contentType || !strings.HasPrefix(a.body, c.body) {
				t.Errorf("got %d %q %.40q", a.status, a.header.Get("Content-Type"), a.body)
			}
			if c.body == "" && a.body != "" {
				t.Errorf("got body %.40q, want none", a.body)
			}
			for name := range c.header {
				if got, want := a.header.Get(name), c.header.Get(name); got != want {
					t.Errorf("got %s: %s, want %s", name, got, want)
				}
			}
			if b.Generic.Issued() != 0 {
				t.Error("the provider was asked")
			}
			if again := b.send(t, b.generic()); again.status != 200 || !b.Generic.Accepts(again.token()) {
				t.Errorf("the script was used twice: got %d", again.status)
			}
		})
	}
}

func TestScriptsThatCutTheConnection(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		script providersim.Script
		issued int
	}{
		"drop does not ask the provider":       {providersim.Drop(), 0},
		"a lost answer was a granted request":  {providersim.LoseAnswer(), 1},
		"a cut-off answer was granted as well": {providersim.CutOff(), 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, providersim.Options{})
			b.Generic.Next(c.script)
			if a, err := b.try(t.Context(), b.generic()); err == nil {
				t.Errorf("got a whole answer: %d", a.status)
			}
			if got := b.Generic.Issued(); got != c.issued {
				t.Errorf("got %d tokens issued, want %d", got, c.issued)
			}
			if got := b.Generic.Calls()[0].Status; got != 0 {
				t.Errorf("got status %d on record, want none", got)
			}
		})
	}
}

func TestScriptsThatOnlyTheClientsDeadlineEnds(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]providersim.Script{
		"hang":      providersim.Hang(),
		"slow body": providersim.SlowBody(time.Hour),
		"delay":     providersim.Delay(time.Hour),
		"hold":      providersim.Hold(providersim.NewGate()),
		"answer":    providersim.HoldAnswer(providersim.NewGate()),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, providersim.Options{})
			arrival := providersim.NewGate()
			arrival.Release()
			b.Generic.Next(providersim.Then(providersim.Hold(arrival), script))
			ctx, cancel := context.WithCancel(t.Context())
			var wait sync.WaitGroup
			wait.Go(func() {
				if a, err := b.try(ctx, b.generic()); err == nil {
					t.Errorf("got a whole answer: %d", a.status)
				}
			})
			if err := arrival.Await(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
			cancel()
			wait.Wait()
		})
	}
}

func TestSlowBodyDrips(t *testing.T) {
	t.Parallel()
	b := newBench(t, providersim.Options{})
	b.Generic.Next(providersim.SlowBody(time.Nanosecond))
	c := b.generic()
	r, err := http.NewRequestWithContext(t.Context(), c.method, c.url, strings.NewReader(c.form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	response, err := b.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	buffer := make([]byte, 1)
	for range 3 {
		if n, err := response.Body.Read(buffer); n != 1 || err != nil {
			t.Fatalf("got %d bytes and %v", n, err)
		}
	}
	if err := response.Body.Close(); err != nil {
		t.Error(err)
	}
}

func TestADelayIsAllThatADelayedRequestSuffers(t *testing.T) {
	t.Parallel()
	b := newBench(t, providersim.Options{})
	b.Generic.Next(providersim.Delay(time.Nanosecond))
	if a := b.send(t, b.generic()); !b.Generic.Accepts(a.token()) {
		t.Errorf("got %d %s", a.status, a.body)
	}
}

func TestWrongTokenLooksRightAndIsRefused(t *testing.T) {
	t.Parallel()
	b := newBench(t, providersim.Options{})
	b.Generic.Next(providersim.WrongToken())
	a := b.send(t, b.generic())
	if a.status != 200 || a.token() == "" {
		t.Fatalf("got %d %s", a.status, a.body)
	}
	if b.Generic.Accepts(a.token()) || b.Generic.Issued() != 0 {
		t.Error("the provider stands by it")
	}
}

func TestQueuedScriptsGoToTheirKindAndBeforeTheStandingOne(t *testing.T) {
	t.Parallel()
	b := newBench(t, providersim.Options{})
	b.SpatiaFi.Always(providersim.Status(503))
	b.SpatiaFi.NextOf(providersim.KindClientCredentials, providersim.Status(418))
	b.SpatiaFi.Next(providersim.Pass())
	login := b.spatiaFiLogin()
	if got := b.send(t, login).status; got != 200 {
		t.Errorf("first login: got %d, want the queued pass", got)
	}
	if got := b.send(t, login).status; got != 503 {
		t.Errorf("second login: got %d, want the standing script", got)
	}
	if got := b.send(t, b.spatiaFiToken(t)).status; got != 418 {
		t.Errorf("app token: got %d, want the script of its kind", got)
	}
	if got := b.use(t, b.SpatiaFi, "unknown"); got != 401 {
		t.Errorf("resource: got %d, want it left alone", got)
	}
	b.SpatiaFi.Next(providersim.Status(418))
	b.SpatiaFi.Clear()
	if got := b.send(t, login).status; got != 200 {
		t.Errorf("after Clear: got %d, want 200", got)
	}
}

func TestOnSuccessReplacesGrantsOnly(t *testing.T) {
	t.Parallel()
	b := newBench(t, providersim.Options{})
	b.Generic.Always(providersim.OnSuccess(providersim.HTML(200)))
	if got := b.send(t, b.generic().edit(func(c *call) { c.form.Set("client_secret", "wrong") })); got.status != 401 {
		t.Errorf("refusal: got %d %s", got.status, got.body)
	}
	if got := b.send(t, b.generic()); !strings.HasPrefix(got.body, "<!DOCTYPE") {
		t.Errorf("grant: got %d %s", got.status, got.body)
	}
	b.Generic.Always(providersim.OnSuccess(providersim.Pass()))
	if got := b.send(t, b.generic()); !b.Generic.Accepts(got.token()) || b.Generic.Issued() != 2 {
		t.Errorf("passed: got %d %s after %d issues", got.status, got.body, b.Generic.Issued())
	}
}

func TestAGateHoldsRequestsUntilItIsReleased(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		script     func(*providersim.Gate) providersim.Script
		issuedHeld int
	}{
		"before the provider looks": {providersim.Hold, 0},
		"after the provider acted":  {providersim.HoldAnswer, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, providersim.Options{})
			gate := providersim.NewGate()
			b.Generic.Always(c.script(gate))
			answers := make(chan answer, 1)
			var wait sync.WaitGroup
			wait.Go(func() {
				if a, err := b.try(t.Context(), b.generic()); err == nil {
					answers <- a
				}
				close(answers)
			})
			if err := gate.Await(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
			if gate.Arrived() != 1 || b.Generic.Issued() != c.issuedHeld {
				t.Errorf("%d arrived, %d issued", gate.Arrived(), b.Generic.Issued())
			}
			gate.Release()
			gate.Release()
			if a := <-answers; !b.Generic.Accepts(a.token()) {
				t.Errorf("got %d %s", a.status, a.body)
			}
			wait.Wait()
			b.send(t, b.generic())
		})
	}
}

func TestAwaitEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := providersim.NewGate().Await(ctx, 1); err == nil {
		t.Error("awaited a request that never came")
	}
}
