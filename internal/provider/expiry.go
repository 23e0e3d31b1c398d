package provider

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/providertoken/operator/internal/token"
)

const (
	// maxSeconds is the longest life in seconds that is read as such: 366 days. More
	// than that are milliseconds, as Adobe sends them (86399947 for a day). If it
	// is wrong, a token is refreshed too early, which costs a request; the other
	// mistake would cost an outage.
	maxSeconds = 366 * 24 * 60 * 60
	// maxEpoch is the latest epoch that is read in seconds, in the year 5138; in
	// milliseconds the same number is in 1973.
	maxEpoch = 1e11
	// jwtSlack is how much earlier a JWT may expire than the answer says before that
	// counts as a contradiction: the clocks of two servers differ by that much.
	jwtSlack = time.Minute
)

// lifetime is how long the token lives from when the request was sent, in whole
// seconds, and who says so.
//
// The answer is asked first, then the token if it is a JWT, then the definition.
// Where answer and JWT contradict, the earlier one is believed: the JWT's exp is
// what resource servers look at (RFC 7519 §4.1.4).
func (r Resolved) lifetime(document object, access string, a Answer) (time.Duration, token.ExpirySource, error) {
	life, source := r.statedLifetime(document, access, a)
	if source == "" {
		life, source = r.TokenLifetime.Duration, token.Configured
	}
	if life == 0 && source == token.Configured {
		return 0, "", &Error{Kind: Misconfigured, Status: a.Status, SentMaybe: true,
			Problem: "nothing says when the token expires", Fix: "set tokenLifetime in the provider's definition"}
	}
	life = life.Truncate(time.Second)
	if life <= 0 {
		return 0, "", nonsense(a, "the answer holds a token that has expired already", "")
	}
	return min(life, maxLifetime), source, nil
}

func (r Resolved) statedLifetime(document object, access string, a Answer) (time.Duration, token.ExpirySource) {
	life, source, _ := r.answeredLifetime(document, a)
	own, isJWT := jwtLifetime(access, a)
	if !isJWT {
		return life, source
	}
	if source == "" || (own > 0 && own < life-jwtSlack) {
		return own, token.JWT
	}
	return life, source
}

func (r Resolved) answeredLifetime(document object, a Answer) (life time.Duration, source token.ExpirySource, pointer string) {
	if life, pointer := findDuration(document, r.Response.ExpiresIn); pointer != "" {
		return life, token.ExpiresIn, pointer
	}
	for _, pointer := range r.Response.ExpiresAt {
		if at, ok := instant(lookup(document, pointer)); ok {
			return at.Sub(serverNow(a)), token.ExpiresAt, pointer
		}
	}
	return 0, "", ""
}

// jwtLifetime reads exp of an access token that happens to be a JWT. Nothing is
// verified: the token is the provider's, and only its resource servers can.
func jwtLifetime(access string, a Answer) (time.Duration, bool) {
	claims, ok := jwtClaims(access)
	if !ok {
		return 0, false
	}
	exp, ok := instant(claims["exp"])
	if !ok {
		return 0, false
	}
	return exp.Sub(issuerNow(claims, exp, a)), true
}

// issuerNow is what the issuer's clock showed when it answered: the Date header,
// and never before iat. Without a Date, iat: a fresh token is likelier than a
// local clock that is right.
func issuerNow(claims object, exp time.Time, a Answer) time.Time {
	now := serverNow(a)
	iat, ok := instant(claims["iat"])
	if !ok || !iat.Before(exp) {
		return now
	}
	if _, dated := date(a); dated && iat.Before(now) {
		return now
	}
	return iat
}

func jwtClaims(access string) (object, bool) { return jwtPart(access, 1) }

func jwtHeader(access string) (object, bool) { return jwtPart(access, 0) }

// jwtPart is the header (0) or the payload (1) of a JWT in compact form (RFC 7519 §3).
func jwtPart(access string, part int) (object, bool) {
	parts := strings.Split(access, ".")
	if len(parts) != 3 {
		return nil, false
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[part], "="))
	if err != nil {
		return nil, false
	}
	return parseObject(payload)
}

// serverNow is the provider's clock: the Date header (RFC 9110 §6.6.1), so that a
// local clock that is wrong does no harm; the local one if there is none.
func serverNow(a Answer) time.Time {
	if now, ok := date(a); ok {
		return now
	}
	return a.SentAt
}

// Ahead is how far the provider's clock was ahead of ours (behind, when negative), by its
// Date header; false when there is none.
func (a Answer) Ahead() (time.Duration, bool) {
	now, ok := date(a)
	if !ok {
		return 0, false
	}
	return now.Sub(a.SentAt.Add(a.ReceivedAt.Sub(a.SentAt) / 2)), true
}

func date(a Answer) (time.Time, bool) {
	now, err := http.ParseTime(a.Header.Get("Date"))
	return now, err == nil
}

// duration reads expires_in and its like: seconds, or milliseconds if they are
// that many. Zero, null, empty and what is not a number say nothing.
func duration(value any) (time.Duration, bool) {
	seconds, ok := number(value)
	if !ok {
		return 0, false
	}
	if seconds > maxSeconds {
		seconds /= 1000
	}
	limit := maxLifetime.Seconds()
	return time.Duration(max(-limit, min(seconds, limit)) * float64(time.Second)), true
}

// instant reads expires_at and its like: an epoch in seconds or milliseconds, or RFC 3339.
func instant(value any) (time.Time, bool) {
	if epoch, ok := number(value); ok {
		if epoch > maxEpoch {
			epoch /= 1000
		}
		epoch = max(-maxEpoch, min(epoch, maxEpoch))
		return time.UnixMilli(int64(epoch * 1000)), true
	}
	text, _ := value.(string)
	at, err := time.Parse(time.RFC3339, strings.TrimSpace(text))
	return at, err == nil
}

// number reads a JSON number, also one in a string. Zero says nothing and is none.
func number(value any) (float64, bool) {
	var text string
	switch v := value.(type) {
	case json.Number:
		text = v.String()
	case string:
		text = strings.TrimSpace(v)
	}
	if strings.Trim(text, "+-.0123456789eE") != "" {
		// ParseFloat also reads hexadecimal, underscores, NaN and Infinity.
		return 0, false
	}
	// Out of range is ±Inf, which is a number, if not a plausible one.
	n, err := strconv.ParseFloat(text, 64)
	if errors.Is(err, strconv.ErrSyntax) {
		return 0, false
	}
	return n, n != 0
}
