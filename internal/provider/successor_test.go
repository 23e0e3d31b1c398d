package provider

import (
	"net/http"
	"testing"
	"time"
)

func TestSuccessorFindsTheNextRefreshTokenInAnswersThatMakeNoSenseOtherwise(t *testing.T) {
	for name, c := range map[string]struct {
		status  int
		body    string
		want    string
		expires time.Time
	}{
		"an ordinary answer":       {200, `{"access_token":"a","refresh_token":"r","refresh_expires_in":60}`, "r", sent().Add(time.Minute)},
		"no access token":          {200, `{"refresh_token":"r"}`, "r", time.Time{}},
		"no refresh token":         {200, `{"access_token":"a"}`, "", time.Time{}},
		"one that cannot be sent":  {200, `{"access_token":"a","refresh_token":"r\u0007"}`, "", time.Time{}},
		"a refusal":                {400, `{"error":"invalid_grant","refresh_token":"r"}`, "", time.Time{}},
		"a refusal in disguise":    {200, `{"error":"invalid_grant","refresh_token":"r"}`, "", time.Time{}},
		"nothing that can be read": {200, `<html>`, "", time.Time{}},
	} {
		r := resolve(t, plain(), nil)
		r.UseRefreshToken = Never // which is about those that come along
		got, expires := r.Successor(Answer{Status: c.status, Header: http.Header{}, Body: []byte(c.body), SentAt: sent()})
		if got.Reveal() != c.want || !expires.Equal(c.expires) {
			t.Errorf("%s: got %q until %s", name, got.Reveal(), expires)
		}
	}
}
