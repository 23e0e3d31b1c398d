// Package wire holds what the end-to-end suite and the programs in its Pods tell
// each other, as JSON. It must not import anything but the standard library.
package wire

import (
	"net/http"
	"time"
)

// Provider is what a simulated provider tells at GET /state.
type Provider struct {
	// Now by the provider's clock, which is its node's.
	Now time.Time `json:"now"`
	// CABundle is PEM.
	CABundle string `json:"caBundle"`
	// Endpoints are URLs by name: token, resource, and login where there is one.
	Endpoints map[string]string `json:"endpoints"`
	// Minted counts the access tokens handed out.
	Minted int `json:"minted"`
	// FirstAsked is when the first request for a token came.
	FirstAsked time.Time `json:"firstAsked,omitzero"`
	// Asked counts requests for tokens by kind, whatever became of them.
	Asked map[string]int `json:"asked"`
	// Scopes counts requests for tokens by the scope that they named.
	Scopes map[string]int `json:"scopes"`
	// Readers by User-Agent.
	Readers map[string]*Calls `json:"readers"`
}

// Calls of a provider's resource.
type Calls struct {
	OK           int `json:"ok"`
	Unauthorized int `json:"unauthorized"`
	Other        int `json:"other"`
}

// Count one call by the status of its answer, 0 for none.
func (c *Calls) Count(status int) {
	switch status {
	case http.StatusOK:
		c.OK++
	case http.StatusUnauthorized:
		c.Unauthorized++
	default:
		c.Other++
	}
}

// Reader is what a workload tells at GET /state.
type Reader struct {
	Name string    `json:"name"`
	Now  time.Time `json:"now"`
	// Reads counts how often the token was read and used; Calls is what became of it,
	// Other including no token to read and no answer.
	Reads int `json:"reads"`
	Calls
	// Unreadable counts reads that found no token.
	Unreadable int `json:"unreadable"`
	// Tokens in the order in which they were first seen.
	Tokens []Token `json:"tokens"`
	// Failures are the first 200 calls that did not end with 200.
	Failures []Failure `json:"failures"`
}

// Token as a workload saw it.
type Token struct {
	// Hash tells tokens apart without telling them; see Hash.
	Hash string    `json:"hash"`
	Seen time.Time `json:"seen"`
	Calls
}

// Failure is one call that did not end with 200.
type Failure struct {
	Time time.Time `json:"time"`
	Hash string    `json:"hash,omitempty"`
	// Status of the answer; 0 without one.
	Status  int    `json:"status,omitempty"`
	Problem string `json:"problem,omitempty"`
}
