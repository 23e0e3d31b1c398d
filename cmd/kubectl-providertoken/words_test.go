package main

import (
	"errors"
	"io"
	"slices"
	"testing"
)

func TestKubectlAsksForCompletionByAnotherName(t *testing.T) {
	for _, c := range []struct{ argv, want []string }{
		{[]string{"/bin/kubectl_complete-providertoken", "status", ""}, []string{"__complete", "status", ""}},
		{[]string{"kubectl-providertoken", "list"}, []string{"list"}},
		{[]string{"kubectl-providertoken"}, nil},
	} {
		if got := arguments(c.argv); !slices.Equal(got, c.want) {
			t.Errorf("%q: %q", c.argv, got)
		}
	}
}

func TestTheNearestNameIsOneThatMayHaveBeenMeant(t *testing.T) {
	names := []string{"up42-token", "up42-tiles", "crm"}
	for typed, want := range map[string]string{
		"up42-tokn": "up42-token", "up42tiles": "up42-tiles", "crn": "crm", "up42": "up42-token", "paypal": "", "c": "", "": "",
	} {
		if got := nearest(typed, names); got != want {
			t.Errorf("%q: %q, want %q", typed, got, want)
		}
	}
}

func TestTheWorstOfSeveralOutcomesIsTheExitCode(t *testing.T) {
	refused, timeout, plain := &failure{exitRefused, errUsage}, &failure{exitTimeout, errUsage}, errors.New("x")
	for _, c := range []struct {
		a, b error
		code int
	}{{nil, nil, 0}, {plain, nil, 1}, {nil, refused, 3}, {refused, plain, 3}, {refused, timeout, 4}, {timeout, refused, 4}, {plain, misuse("y"), 2}} {
		if got := conclude(io.Discard, worse(c.a, c.b)); got != c.code {
			t.Errorf("%v and %v: %d, want %d", c.a, c.b, got, c.code)
		}
	}
}
