package target

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"hash"
	"maps"
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
	h := sha256.New()
	writePart(h, string(s.Type))
	for _, k := range described() {
		writePart(h, s.Annotations[k])
	}
	for _, k := range slices.Sorted(maps.Keys(s.Data)) {
		writePart(h, k)
		writePart(h, string(s.Data[k]))
	}
	return hashVersion + hex.EncodeToString(h.Sum(nil))
}

func writePart(h hash.Hash, part string) {
	_, _ = h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
	_, _ = h.Write([]byte(part))
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
