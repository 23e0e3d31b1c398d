package wire

import (
	"crypto/sha256"
	"encoding/hex"
)

// Hash names a token in logs and states.
func Hash(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:6])
}
