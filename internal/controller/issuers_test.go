package controller

import (
	"fmt"
	"testing"
	"time"

	"github.com/providertoken/operator/internal/exchange"
)

func TestANamespaceThatNamesManyIssuersForgetsItsOwnOnly(t *testing.T) {
	var known issuers
	at := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	platform := issuer{url: "https://sso.example.com"}
	neighbour := issuer{url: "https://sso.example.org", trust: exchange.Trust{PublicOnly: true}, namespace: "neighbour"}
	known.put(platform, discovered{at: at})
	known.put(neighbour, discovered{at: at})
	greedy := func(n int) issuer {
		return issuer{url: fmt.Sprintf("https://%d.example.net", n), trust: exchange.Trust{PublicOnly: true}, namespace: "greedy"}
	}
	for n := range 10 * maxIssuersOfNamespace {
		known.put(greedy(n), discovered{at: at.Add(time.Duration(n+1) * time.Second)})
		known.put(greedy(n), discovered{at: at.Add(time.Duration(n+1) * time.Second)}) // read again
	}
	if len(known.known) != maxIssuersOfNamespace+2 {
		t.Errorf("%d issuers are remembered", len(known.known))
	}
	for _, i := range []issuer{platform, neighbour, greedy(10*maxIssuersOfNamespace - 1)} {
		if _, found := known.get(i); !found {
			t.Errorf("%s is forgotten", i.url)
		}
	}
	if _, found := known.get(greedy(0)); found {
		t.Error("the oldest is remembered")
	}
}

func TestIssuersOfTheSameURLAreToldApartByWhoVouchesAndByTheirAuthorities(t *testing.T) {
	var known issuers
	mine := issuer{url: "https://sso.example.com", namespace: "mine", trust: exchange.Trust{PublicOnly: true, CABundle: "a"}}
	known.put(mine, discovered{})
	for _, other := range []issuer{
		{url: mine.url, trust: exchange.Trust{CABundle: "a"}},
		{url: mine.url, namespace: "yours", trust: mine.trust},
		{url: mine.url, namespace: "mine", trust: exchange.Trust{PublicOnly: true, CABundle: "b"}},
		{url: mine.url + "a", namespace: "mine", trust: exchange.Trust{PublicOnly: true}},
	} {
		if _, found := known.get(other); found {
			t.Errorf("%+v shares what is known", other)
		}
	}
}
