package controller_test

import (
	"context"
	"io"
	"net/http"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/providertoken/operator/internal/controller"
	testworld "github.com/providertoken/operator/test/world"
)

var _ = Describe("the history of a cluster", func() {
	const collection = "https://api.example.com/api/v1/namespaces/a/secrets"
	// watch opens a watch while the cluster is at version now, and tells what became of it.
	watch := func(ctx context.Context, query, now string) (status, asked, back int) {
		history := &controller.History{}
		history.WentBack(func() { back++ })
		sent := history.Wrap(testworld.RoundTripper(func(r *http.Request) (*http.Response, error) {
			body := ""
			if r.URL.Query().Get("limit") == "1" {
				asked++
				if now == "refused" {
					return &http.Response{StatusCode: http.StatusForbidden, Body: io.NopCloser(strings.NewReader("{}"))}, nil
				}
				Expect(r.Header.Get("Accept")).To(ContainSubstring("PartialObjectMetadataList"), "no content of Secrets is asked for")
				body = `{"metadata":{"resourceVersion":"` + now + `"}}`
			}
			return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body))}, nil
		}))
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, collection+query, http.NoBody)
		Expect(err).NotTo(HaveOccurred())
		resp, err := sent.RoundTrip(req)
		Expect(err).NotTo(HaveOccurred())
		Expect(resp.Body.Close()).To(Succeed())
		return resp.StatusCode, asked, back
	}

	DescribeTable("is asked for when a watch is opened again, and not otherwise", func(ctx SpecContext, query, now string, status, asked, back int) {
		gotStatus, gotAsked, gotBack := watch(ctx, query, now)
		Expect([]int{gotStatus, gotAsked, gotBack}).To(Equal([]int{status, asked, back}))
	},
		Entry("it went on", "?watch=true&resourceVersion=90", "91", 200, 1, 0),
		Entry("nothing happened", "?watch=true&resourceVersion=90", "90", 200, 1, 0),
		Entry("it went back", "?watch=true&resourceVersion=90", "89", 410, 1, 1),
		Entry("it is not told", "?watch=true&resourceVersion=90", "", 200, 1, 0),
		Entry("it is not told by an API server that has just started", "?watch=true&resourceVersion=90", "refused", 403, 1, 0),
		Entry("a first watch", "?watch=true&resourceVersion=0", "89", 200, 0, 0),
		Entry("a watch that lists", "?watch=true&resourceVersion=90&sendInitialEvents=true", "89", 200, 0, 0),
		Entry("no watch", "?resourceVersion=90", "89", 200, 0, 0),
	)

	DescribeTable("is noticed by who begins anew, because an API server that had just started refused its watch", func(ctx SpecContext, query string) {
		history, back, status := &controller.History{}, 0, http.StatusForbidden
		history.WentBack(func() { back++ })
		sent := history.Wrap(testworld.RoundTripper(func(*http.Request) (*http.Response, error) {
			body := io.NopCloser(strings.NewReader(`{"metadata":{"resourceVersion":"89"}}`))
			return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}}, Body: body}, nil
		}))
		ask := func(query string) int {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, collection+query, http.NoBody)
			Expect(err).NotTo(HaveOccurred())
			resp, err := sent.RoundTrip(req)
			Expect(err).NotTo(HaveOccurred())
			Expect(resp.Body.Close()).To(Succeed())
			return resp.StatusCode
		}
		Expect(ask("?watch=true&resourceVersion=90")).To(Equal(http.StatusForbidden))
		status = http.StatusOK
		Expect(ask(query)).To(Equal(http.StatusOK))
		Expect(back).To(Equal(1))
		Expect(ask(query)).To(Equal(http.StatusOK))
		Expect(back).To(Equal(1), "told once")
	},
		Entry("by a watch that lists", "?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"),
		Entry("by a list", "?limit=500&resourceVersion=0"),
	)
})
