package controller

import (
	"errors"
	"io"
	"net/http"
	"testing"
	"time"

	"k8s.io/client-go/rest"
)

type answers func(*http.Request) (*http.Response, error)

func (f answers) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestOnlyWatchesThatGetBookmarksAreExpectedToSaySomething(t *testing.T) {
	for query, guarded := range map[string]bool{
		"watch=true&allowWatchBookmarks=true": true,
		"watch=1&allowWatchBookmarks=true":    true,
		"watch=true":                          false,
		"allowWatchBookmarks=true":            false,
		"":                                    false,
	} {
		t.Run(query, func(t *testing.T) {
			r, w := io.Pipe()
			defer func() { _ = w.Close() }()
			cfg := &rest.Config{}
			GuardWatches(cfg, 20*time.Millisecond)
			through := cfg.WrapTransport(answers(func(*http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: http.StatusOK, Body: r}, nil
			}))
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://127.0.0.1/?"+query, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := through.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = resp.Body.Close() }()
			if !guarded {
				go func() { _, _ = w.Write([]byte("x")) }()
			}
			_, err = resp.Body.Read(make([]byte, 1))
			if guarded != errors.Is(err, errSilent) {
				t.Errorf("got %v", err)
			}
		})
	}
}
