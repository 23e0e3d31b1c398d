package providersim

import (
	"crypto/rand"
	"maps"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// signer makes access tokens that are JWTs. Nobody but the simulator's books
// decides what is accepted; the signature is real so that the form is.
type signer struct {
	issuer string
	key    []byte
}

func newSigner(issuer string) signer {
	return signer{issuer: issuer, key: []byte(rand.Text() + rand.Text())}
}

// sign returns a JWT and its expiry. Claims count whole seconds, so the token
// lives up to one second less than its lifetime, as real ones do.
func (s signer) sign(now time.Time, lifetime time.Duration, claims jwt.MapClaims) (token string, expires time.Time, err error) {
	issued := now.Truncate(time.Second)
	expires = issued.Add(lifetime)
	all := jwt.MapClaims{"iss": s.issuer, "jti": rand.Text(), "iat": issued.Unix(), "exp": expires.Unix()}
	maps.Copy(all, claims)
	token, err = jwt.NewWithClaims(jwt.SigningMethodHS512, all).SignedString(s.key)
	return token, expires, err
}
