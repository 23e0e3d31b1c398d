package providersim

import (
	"bytes"
	"compress/gzip"
	"context"
	"maps"
	"net/http"
	"strings"
	"time"
)

// Script is a canned behaviour for one request. It may ask the provider, answer
// in its place, or spoil what it says. When it gives up on the client, it must
// panic with http.ErrAbortHandler; r's context ends with the client and with the
// Simulator.
type Script func(w http.ResponseWriter, r *http.Request, provider http.HandlerFunc)

func pass(w http.ResponseWriter, r *http.Request, provider http.HandlerFunc) { provider(w, r) }

// Header is a further header of a scripted answer.
type Header struct{ Name, Value string }

// RetryAfter is that header (RFC 9110 §10.2.3), as seconds or as a date.
func RetryAfter(value string) Header { return Header{Name: "Retry-After", Value: value} }

// Answer gives this status and body; no Content-Type is sent if contentType is empty.
func Answer(status int, contentType, body string, headers ...Header) Script {
	return func(w http.ResponseWriter, _ *http.Request, _ http.HandlerFunc) {
		w.Header()["Content-Type"] = nil // otherwise net/http guesses one
		if contentType != "" {
			w.Header().Set("Content-Type", contentType)
		}
		for _, h := range headers {
			w.Header().Set(h.Name, h.Value)
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}
}

// Status answers with an empty body.
func Status(status int, headers ...Header) Script { return Answer(status, "", "", headers...) }

// JSON answers with that body.
func JSON(status int, body string, headers ...Header) Script {
	return Answer(status, "application/json", body, headers...)
}

// HTML answers with a page, as a gateway in front of a provider does.
func HTML(status int, headers ...Header) Script {
	const page = "<!DOCTYPE html><html><head><title>Error</title></head><body><h1>Something went wrong</h1></body></html>"
	return Answer(status, "text/html; charset=utf-8", page, headers...)
}

// Garbage200 claims to be JSON and is not.
func Garbage200() Script { return JSON(http.StatusOK, "{\"access_token\": \x00\xff,,]") }

// Empty200 has no body.
func Empty200() Script { return Status(http.StatusOK) }

// Redirect answers 307, which would make a careless client send its credentials there.
func Redirect(location string) Script {
	return Status(http.StatusTemporaryRedirect, Header{Name: "Location", Value: location})
}

// Oversized answers 200 with a good token after size bytes of padding.
func Oversized(size int) Script { return JSON(http.StatusOK, oversized(size)) }

// GzipBomb is Oversized in a few compressed bytes.
func GzipBomb(size int) Script {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, _ = z.Write([]byte(oversized(size))) // a bytes.Buffer takes everything
	_ = z.Close()
	return JSON(http.StatusOK, packed.String(), Header{Name: "Content-Encoding", Value: "gzip"})
}

func oversized(size int) string {
	return `{"padding":"` + strings.Repeat("x", size) + `","access_token":"oversized","token_type":"bearer","expires_in":300}`
}

// Drop cuts the connection before the provider has looked at the request.
func Drop() Script {
	return func(http.ResponseWriter, *http.Request, http.HandlerFunc) { panic(http.ErrAbortHandler) }
}

// LoseAnswer lets the provider do what it is asked, and cuts the connection instead of telling.
func LoseAnswer() Script {
	return func(_ http.ResponseWriter, r *http.Request, provider http.HandlerFunc) {
		provider(&recordedWriter{header: http.Header{}}, r)
		panic(http.ErrAbortHandler)
	}
}

// CutOff lets the provider do what it is asked, and cuts the connection in the middle of the answer's body.
func CutOff() Script {
	return func(w http.ResponseWriter, r *http.Request, provider http.HandlerFunc) {
		rec := record(r, provider)
		rec.copyHead(w)
		_, _ = w.Write(rec.body.Bytes()[:rec.body.Len()/2])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
}

// SlowBody answers 200 and then sends a space at each interval, for ever: no
// deadline on idleness ends it, only one on the whole.
func SlowBody(every time.Duration) Script {
	return func(w http.ResponseWriter, r *http.Request, _ http.HandlerFunc) {
		w.Header().Set("Content-Type", "application/json")
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		for {
			if _, err := w.Write([]byte(" ")); err != nil {
				panic(http.ErrAbortHandler)
			}
			_ = http.NewResponseController(w).Flush()
			select {
			case <-ticker.C:
			case <-r.Context().Done():
				panic(http.ErrAbortHandler)
			}
		}
	}
}

// Hang never answers: it ends with the client's patience or with the Simulator.
func Hang() Script {
	return func(_ http.ResponseWriter, r *http.Request, _ http.HandlerFunc) {
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	}
}

// Delay lets that much real time pass before the provider sees the request.
func Delay(d time.Duration) Script {
	return func(w http.ResponseWriter, r *http.Request, provider http.HandlerFunc) {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
			provider(w, r)
		case <-r.Context().Done():
			panic(http.ErrAbortHandler)
		}
	}
}

// WrongToken answers as ever, with a token that the provider will not accept.
func WrongToken() Script {
	return func(w http.ResponseWriter, r *http.Request, provider http.HandlerFunc) {
		provider(w, r.WithContext(context.WithValue(r.Context(), unbookedKey{}, true)))
	}
}

// Pass is the provider as it should be; it fills a place in a queue.
func Pass() Script { return pass }

// Then puts second in the place of the provider that first asks.
func Then(first, second Script) Script {
	return func(w http.ResponseWriter, r *http.Request, provider http.HandlerFunc) {
		first(w, r, func(w http.ResponseWriter, r *http.Request) { second(w, r, provider) })
	}
}

// OnSuccess lets the provider judge the request, and answers with s only where it
// would have granted it; refusals go out as they are.
func OnSuccess(s Script) Script {
	return func(w http.ResponseWriter, r *http.Request, provider http.HandlerFunc) {
		rec := record(r, provider)
		if rec.status/100 != 2 {
			rec.copyTo(w)
			return
		}
		s(w, r, func(w http.ResponseWriter, _ *http.Request) { rec.copyTo(w) })
	}
}

// Hold keeps requests from the provider until the gate is released.
func Hold(g *Gate) Script {
	return func(w http.ResponseWriter, r *http.Request, provider http.HandlerFunc) {
		if !g.hold(r.Context()) {
			panic(http.ErrAbortHandler)
		}
		provider(w, r)
	}
}

// HoldAnswer lets the provider do what it is asked, and keeps its answer until the gate is released.
func HoldAnswer(g *Gate) Script {
	return func(w http.ResponseWriter, r *http.Request, provider http.HandlerFunc) {
		rec := record(r, provider)
		if !g.hold(r.Context()) {
			panic(http.ErrAbortHandler)
		}
		rec.copyTo(w)
	}
}

// recordedWriter keeps an answer back.
type recordedWriter struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func record(r *http.Request, provider http.HandlerFunc) *recordedWriter {
	rec := &recordedWriter{header: http.Header{}}
	provider(rec, r)
	return rec
}

func (w *recordedWriter) Header() http.Header { return w.header }

func (w *recordedWriter) WriteHeader(status int) { w.status = status }

func (w *recordedWriter) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.body.Write(p)
}

func (w *recordedWriter) copyHead(to http.ResponseWriter) {
	maps.Copy(to.Header(), w.header)
	to.WriteHeader(w.status)
}

func (w *recordedWriter) copyTo(to http.ResponseWriter) {
	w.copyHead(to)
	_, _ = to.Write(w.body.Bytes())
}
