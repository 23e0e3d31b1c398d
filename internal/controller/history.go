package controller

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// History stands between the operator and the API server, and notices that the
// cluster's history went back: that etcd was put back to an earlier state. A watch
// that then goes on from where it was stays silent until the cluster has counted up
// to there again, which takes as long as the backup is old. History ends such a watch
// as if it had lagged behind, so that the cache reads everything anew. It asks
// for one object's metadata whenever a watch is opened again, which is every few minutes.
type History struct {
	mu      sync.Mutex
	onceWas []func()
	// last is where the last watch of a collection was opened.
	last map[string]string
}

func (h *History) reached(collection string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.last[collection]
}

// reach notes where a watch is opened; empty forgets it.
func (h *History) reach(collection, version string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if version == "" {
		delete(h.last, collection)
		return
	}
	if h.last == nil {
		h.last = map[string]string{}
	}
	h.last[collection] = version
}

// WentBack calls f whenever it was noticed.
func (h *History) WentBack(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.onceWas = append(h.onceWas, f)
}

// Wrap is for rest.Config.
func (h *History) Wrap(next http.RoundTripper) http.RoundTripper {
	return historian{History: h, next: next}
}

type historian struct {
	*History
	next http.RoundTripper
}

// RoundTrip sends r, unless it is a watch from an instant that is still to come.
func (h historian) RoundTrip(r *http.Request) (*http.Response, error) {
	q := r.URL.Query()
	collection := r.URL.Path + "?" + q.Get("labelSelector")
	watches := q.Get("watch") == "true" || q.Get("watch") == "1"
	from := q.Get("resourceVersion")
	// A watch that could not be opened again is begun from nothing, and so is a list.
	anew := !watches || from == "" || from == "0" || q.Get("sendInitialEvents") != ""
	if anew {
		from = h.reached(collection)
	} else {
		h.reach(collection, from)
	}
	if from == "" {
		return h.next.RoundTrip(r)
	}
	now, refused, err := h.now(r)
	switch {
	case err != nil:
		return nil, err
	case refused != nil:
		return refused, nil
	case !older(now, from):
		return h.next.RoundTrip(r)
	}
	h.reach(collection, "")
	h.mu.Lock()
	told := h.onceWas
	h.mu.Unlock()
	for _, f := range told {
		f()
	}
	if anew {
		return h.next.RoundTrip(r)
	}
	status := apierrors.NewResourceExpired("the cluster was put back to an earlier state").ErrStatus
	status.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}
	body, err := json.Marshal(status)
	if err != nil {
		return nil, err
	}
	return &http.Response{
		Status: "410 Gone", StatusCode: http.StatusGone, Proto: r.Proto, ProtoMajor: r.ProtoMajor, ProtoMinor: r.ProtoMinor, Request: r,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)),
	}, nil
}

// now is the resource version of what r watches; empty when the answer does not say.
// A refusal is one for the watch as well: an API server that has just started refuses
// everybody for a moment, and the watch right after it could be let through unseen.
func (h historian) now(r *http.Request) (version string, refused *http.Response, err error) {
	ask := r.Clone(r.Context())
	ask.URL.RawQuery = url.Values{"limit": {"1"}}.Encode()
	ask.Header.Set("Accept", "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1")
	resp, err := h.next.RoundTrip(ask)
	if err != nil {
		return "", nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return "", resp, nil
	}
	defer func() { _ = resp.Body.Close() }()
	var list metav1.PartialObjectMetadataList
	if !strings.Contains(resp.Header.Get("Content-Type"), "json") || json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&list) != nil {
		return "", nil, nil
	}
	return list.ResourceVersion, nil, nil
}
