package consent

import (
	"net"
	"strings"
	"testing"
)

// FuzzHosts looks for an annotation that allows more than the hosts that it spells out.
func FuzzHosts(f *testing.F) {
	for _, seed := range []string{"a.example", "a.example:443,b.example:8443", "[::1]:443", "::1", " A.example ,", "*", "a.example@evil.example", "https://a.example", "a.example:443:443", "[a.example]", "a.example\n"} {
		f.Add(seed, "a.example:443")
	}
	f.Add("::1", "[::1]:443")
	f.Fuzz(func(t *testing.T, annotation, host string) {
		name, port, err := net.SplitHostPort(host)
		if err != nil || name == "" || port == "" || host != strings.ToLower(host) || net.JoinHostPort(name, port) != host || strings.ContainsAny(host, ", \t") {
			return // not what Resolved.Host makes
		}
		if !Hosts(annotation, host) {
			return
		}
		lower := strings.ToLower(annotation)
		if !strings.Contains(lower, name) {
			t.Errorf("%q allows %q, whose name it does not hold", annotation, host)
		}
		if port != "443" && !strings.Contains(lower, ":"+port) {
			t.Errorf("%q allows %q, whose port it does not hold", annotation, host)
		}
		for entry := range strings.SplitSeq(lower, ",") {
			if bare := strings.Trim(strings.TrimSpace(entry), "[]"); bare == name || strings.TrimSpace(entry) == host {
				return
			}
		}
		t.Errorf("%q allows %q, which is none of its entries", annotation, host)
	})
}
