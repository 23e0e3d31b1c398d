package providersim

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const (
	// clientAssertionType is RFC 7523 §2.2.
	clientAssertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
	// assertionLeeway is how far a client's clock may run ahead.
	assertionLeeway = 10 * time.Second
	// assertionMaxLife is what the vendor's SDK uses.
	assertionMaxLife = time.Hour
)

// clientAssertion is what is left to check after verifyAssertion.
type clientAssertion struct {
	ID      string
	expires time.Time
}

// verifyAssertion checks a client assertion (RFC 7523 §3) against the server's
// clock. The header and the claims must be exactly those of the vendor's SDK.
func verifyAssertion(assertion, audience string, now time.Time, secrets map[string]string) (clientAssertion, error) {
	parser := jwt.NewParser(
		jwt.WithValidMethods([]string{"HS256"}), jwt.WithoutClaimsValidation(), jwt.WithJSONNumber(), jwt.WithStrictDecoding(),
	)
	claims := jwt.MapClaims{}
	token, err := parser.ParseWithClaims(assertion, claims, func(*jwt.Token) (any, error) {
		id, _ := claims["iss"].(string)
		secret, ok := secrets[id]
		if !ok {
			return nil, errors.New("unknown issuer")
		}
		return []byte(secret), nil
	})
	if err != nil {
		return clientAssertion{}, fmt.Errorf("parsing the assertion: %w", err)
	}
	if len(token.Header) != 2 || token.Header["typ"] != "JWT" {
		return clientAssertion{}, errors.New(`header is not exactly {"alg":"HS256","typ":"JWT"}`)
	}
	return checkClaims(claims, audience, now)
}

func checkClaims(claims jwt.MapClaims, audience string, now time.Time) (clientAssertion, error) {
	names := slices.Sorted(maps.Keys(claims))
	if !slices.Equal(names, []string{"aud", "exp", "iat", "iss", "jti", "sub"}) {
		return clientAssertion{}, errors.New("claims are not exactly iss, sub, aud, iat, exp, jti")
	}
	if claims["sub"] != claims["iss"] {
		return clientAssertion{}, errors.New("sub is not iss")
	}
	if claims["aud"] != audience { // a list with that one audience is refused too
		return clientAssertion{}, errors.New("aud is not the token URL")
	}
	id, ok := claims["jti"].(string)
	if !ok || id == "" {
		return clientAssertion{}, errors.New("jti is no string, or empty")
	}
	issued, err := instant(claims["iat"])
	if err != nil {
		return clientAssertion{}, fmt.Errorf("iat: %w", err)
	}
	expires, err := instant(claims["exp"])
	if err != nil {
		return clientAssertion{}, fmt.Errorf("exp: %w", err)
	}
	if issued.After(now.Add(assertionLeeway)) {
		return clientAssertion{}, errors.New("iat is in the future")
	}
	if !now.Before(expires) {
		return clientAssertion{}, errors.New("exp is over")
	}
	if expires.Sub(issued) > assertionMaxLife {
		return clientAssertion{}, errors.New("exp is too long after iat")
	}
	return clientAssertion{ID: id, expires: expires}, nil
}

// instant reads a NumericDate (RFC 7519 §2) of whole seconds.
func instant(claim any) (time.Time, error) {
	number, ok := claim.(json.Number)
	if !ok {
		return time.Time{}, errors.New("not a number")
	}
	epoch, err := number.Int64()
	if err != nil {
		return time.Time{}, fmt.Errorf("not whole seconds: %w", err)
	}
	return time.Unix(epoch, 0), nil
}
