package provider

import (
	"fmt"
	"time"
)

// Kind is what a failure means for the one who retries it. It is decided where
// the failure is born and interpreted in one place, by the controller.
type Kind string

const (
	// Input: the request cannot be made from what was given; only an edit helps.
	Input Kind = "Input"
	// Denied: the provider refused the client or what it asks for (invalid_client,
	// unauthorized_client, invalid_scope, …). An edit is needed, here or there.
	Denied Kind = "Denied"
	// LoginDenied: a username and password were refused; another try may lock the account.
	LoginDenied Kind = "LoginDenied"
	// RefreshDenied: a refresh token was refused.
	RefreshDenied Kind = "RefreshDenied"
	// Throttled: the provider wants to be left alone for RetryAfter.
	Throttled Kind = "Throttled"
	// Unavailable: transport failures, 5xx, 408, 425, and answers that make no sense.
	Unavailable Kind = "Unavailable"
	// Misconfigured: redirects, 404, 405, 415, TLS verification, a forbidden address.
	Misconfigured Kind = "Misconfigured"
)

// Error is a failed attempt to get a token. Nothing in it was sent by the
// provider except Code, and that only from a fixed list.
type Error struct {
	Kind Kind
	// Code is the OAuth error code if it is a registered one, or one of a short
	// list of well-known others; empty otherwise.
	Code string
	// Status is the HTTP status; 0 when there was no answer.
	Status int
	// RetryAfter is how long the provider asked to be left alone; 0 when it did not say.
	RetryAfter time.Duration
	// Problem is one sentence without a final stop: what went wrong, in our own words.
	Problem string
	// Fix is one sentence without a final stop: what to do about it; may be empty.
	Fix string
	// SentMaybe tells that the provider may have seen the request, so that a
	// one-time credential in it may be used up.
	SentMaybe bool
}

// Error implements error.
func (e *Error) Error() string {
	s := e.Problem
	if e.Fix != "" {
		s += fmt.Sprintf("; %s", e.Fix)
	}
	return s
}

// Refusal tells that the provider judged the request and did not like it.
func (e *Error) Refusal() bool {
	return e.Kind == Denied || e.Kind == LoginDenied || e.Kind == RefreshDenied
}

// inputf is an Error of kind Input. Its arguments must be nothing out of a Secret.
func inputf(fix, problem string, args ...any) *Error {
	return &Error{Kind: Input, Problem: fmt.Sprintf(problem, args...), Fix: fix}
}
