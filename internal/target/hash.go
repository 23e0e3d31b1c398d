package target

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/providertoken/operator/api/v1alpha1"
)

// hashVersion stands before every hash, so that a release that hashes otherwise
// can tell its own from older ones. A hash of another version proves nothing
// and counts as right: an upgrade, or a step back, mints nothing.
const hashVersion = "v1:"

// contentHash covers all that a rendering depends on or results in: type, data
// and what describes the token. Every part has its length before it, so that
// no two contents have the same encoding.
func contentHash(s *corev1.Secret) string {
	keys := make([]string, 0, len(s.Data))
	size := partSize + len(s.Type)
	for k, v := range s.Data {
		keys = append(keys, k)
		size += 2*partSize + len(k) + len(v)
	}
	slices.Sort(keys)
	for _, k := range described() {
		size += partSize + len(s.Annotations[k])
	}
	// One buffer instead of many writes: this is done twice in every reconcile of every object.
	encoded := appendPart(make([]byte, 0, size), s.Type)
	for _, k := range described() {
		encoded = appendPart(encoded, s.Annotations[k])
	}
	for _, k := range keys {
		encoded = appendPart(appendPart(encoded, k), s.Data[k])
	}
	sum := sha256.Sum256(encoded)
	return hashVersion + hex.EncodeToString(sum[:])
}

// partSize is what a part takes beside itself.
const partSize = 8

func appendPart[T ~string | ~[]byte](to []byte, part T) []byte {
	return append(binary.BigEndian.AppendUint64(to, uint64(len(part))), part...)
}

// formHash tells forms of data apart: format and template without metadata.
func formHash(t v1alpha1.Target) string {
	t.SecretName, t.DeletionPolicy, t.KeepPrevious = "", "", false
	if t.Template != nil {
		t.Template = &v1alpha1.SecretTemplate{Type: t.Template.Type, Data: t.Template.Data, Keys: t.Template.Keys}
	}
	encoded, err := json.Marshal(t) // sorts maps; cannot fail on strings
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(encoded)
	return hashVersion + hex.EncodeToString(sum[:])
}

// hashAgrees compares a recorded hash with the one computed now.
func hashAgrees(recorded, computed string) bool {
	if recorded == "" {
		return false
	}
	return recorded == computed || !strings.HasPrefix(recorded, hashVersion)
}
