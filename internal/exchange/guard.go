package exchange

import (
	"context"
	"net/netip"
	"slices"
	"syscall"
)

// guard decides which addresses may be dialled. The decision is made after name
// resolution, on the address that is about to be connected to, so that a name
// that resolves differently the second time gains nothing.
type guard struct {
	allowed    []netip.Prefix
	publicOnly bool
	// internal are further addresses that only a vouched endpoint may have.
	internal []netip.Addr
}

// refusedAddressError is a dial that the guard refused. It does not hold the
// address: what a name resolves to inside the cluster is not for everyone.
type refusedAddressError struct {
	class      string
	publicOnly bool
}

func (e *refusedAddressError) Error() string { return "refused address: " + e.class }

// control is a net.Dialer's ControlContext.
func (g guard) control(_ context.Context, _, address string, _ syscall.RawConn) error {
	target, err := netip.ParseAddrPort(address)
	if err != nil {
		return &refusedAddressError{class: "not an IP address"}
	}
	return g.check(target.Addr())
}

// check returns a *refusedAddressError unless addr may be dialled. An address
// that carries an IPv4 address inside is judged by that.
func (g guard) check(addr netip.Addr) error {
	addr = addr.WithZone("").Unmap()
	if g.allows(addr) {
		return nil
	}
	for _, inner := range unwrap(addr) {
		if err := g.judge(inner); err != nil {
			return err
		}
	}
	return nil
}

func (g guard) judge(addr netip.Addr) error {
	if g.allows(addr) {
		return nil
	}
	if class, found := classify(addr, neverDialled()); found {
		return &refusedAddressError{class: class}
	}
	if !g.publicOnly {
		return nil
	}
	if class, found := classify(addr, notPublic()); found {
		return &refusedAddressError{class: class, publicOnly: true}
	}
	if slices.Contains(g.internal, addr) {
		return &refusedAddressError{class: "an address of the cluster", publicOnly: true}
	}
	return nil
}

func (g guard) allows(addr netip.Addr) bool {
	return slices.ContainsFunc(g.allowed, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// network is a block of addresses with the words for it.
type network struct {
	prefix netip.Prefix
	class  string
}

func classify(addr netip.Addr, networks []network) (class string, found bool) {
	for _, n := range networks {
		if n.prefix.Contains(addr) {
			return n.class, true
		}
	}
	return "", false
}

// neverDialled are the addresses at which no token endpoint lives but much that
// must not be reached: the operator's own Pod, its node, and the services that
// hand out a cloud's credentials to whoever asks from inside.
func neverDialled() []network {
	return []network{
		{netip.MustParsePrefix("127.0.0.0/8"), "a loopback address"},
		{netip.MustParsePrefix("::1/128"), "a loopback address"},
		{netip.MustParsePrefix("0.0.0.0/8"), "an unspecified address"},
		{netip.MustParsePrefix("::/128"), "an unspecified address"},
		{netip.MustParsePrefix("169.254.0.0/16"), "a link-local or metadata address"},
		{netip.MustParsePrefix("fe80::/10"), "a link-local address"},
		{netip.MustParsePrefix("fd00:ec2::/32"), "a metadata address"},       // Amazon
		{netip.MustParsePrefix("fd20:ce::254/128"), "a metadata address"},    // Google
		{netip.MustParsePrefix("fd00:42::42/128"), "a metadata address"},     // Scaleway
		{netip.MustParsePrefix("100.100.100.200/32"), "a metadata address"},  // Alibaba
		{netip.MustParsePrefix("168.63.129.16/32"), "a metadata address"},    // Azure
		{netip.MustParsePrefix("192.0.0.192/32"), "a metadata address"},      // Oracle
		{netip.MustParsePrefix("224.0.0.0/4"), "a multicast address"},        // RFC 5771
		{netip.MustParsePrefix("ff00::/8"), "a multicast address"},           // RFC 4291 §2.7
		{netip.MustParsePrefix("255.255.255.255/32"), "a broadcast address"}, // RFC 919
	}
}

// notPublic are the addresses that the IANA special-purpose registries do not
// call globally reachable, and those that a cluster uses as if they were not.
func notPublic() []network {
	return []network{
		{netip.MustParsePrefix("10.0.0.0/8"), "a private address"},              // RFC 1918
		{netip.MustParsePrefix("172.16.0.0/12"), "a private address"},           // RFC 1918
		{netip.MustParsePrefix("192.168.0.0/16"), "a private address"},          // RFC 1918
		{netip.MustParsePrefix("fc00::/7"), "a private address"},                // RFC 4193
		{netip.MustParsePrefix("fec0::/10"), "a private address"},               // RFC 3879
		{netip.MustParsePrefix("100.64.0.0/10"), "a carrier-grade NAT address"}, // RFC 6598
		{netip.MustParsePrefix("198.18.0.0/15"), "a benchmark address"},         // RFC 2544
		{netip.MustParsePrefix("2001:2::/48"), "a benchmark address"},           // RFC 5180
		{netip.MustParsePrefix("192.0.2.0/24"), "a documentation address"},      // RFC 5737
		{netip.MustParsePrefix("198.51.100.0/24"), "a documentation address"},   // RFC 5737
		{netip.MustParsePrefix("203.0.113.0/24"), "a documentation address"},    // RFC 5737
		{netip.MustParsePrefix("2001:db8::/32"), "a documentation address"},     // RFC 3849
		{netip.MustParsePrefix("3fff::/20"), "a documentation address"},         // RFC 9637
		{netip.MustParsePrefix("192.0.0.0/24"), "a reserved address"},           // RFC 6890
		{netip.MustParsePrefix("192.88.99.0/24"), "a reserved address"},         // RFC 7526
		{netip.MustParsePrefix("240.0.0.0/4"), "a reserved address"},            // RFC 1112
		{netip.MustParsePrefix("2001::/23"), "a reserved address"},              // RFC 2928
		{netip.MustParsePrefix("34.118.224.0/20"), "a Service address"},         // Google Kubernetes Engine's own, though it looks public
		// Global unicast is 2000::/3 (RFC 4291 §2.4); these are the other seven eighths.
		{netip.MustParsePrefix("::/3"), "a reserved address"},
		{netip.MustParsePrefix("4000::/2"), "a reserved address"},
		{netip.MustParsePrefix("8000::/1"), "a reserved address"},
	}
}

// unwrap returns the IPv4 addresses that addr stands for in a transition
// mechanism, or addr itself.
func unwrap(addr netip.Addr) []netip.Addr {
	if !addr.Is6() {
		return []netip.Addr{addr}
	}
	b := addr.As16()
	switch {
	case within(addr, "64:ff9b::/96"): // NAT64, RFC 6052 §2.1
		return embedded(b, 12, 13, 14, 15)
	case within(addr, "64:ff9b:1::/48"): // NAT64 with a local prefix, RFC 8215
		return localNAT64(b)
	case within(addr, "2002::/16"): // 6to4, RFC 3056 §2
		return embedded(b, 2, 3, 4, 5)
	case within(addr, "2001::/32"): // Teredo, RFC 4380 §4: server, and the client with all bits inverted
		for i := 12; i < 16; i++ {
			b[i] = ^b[i]
		}
		return append(embedded(b, 4, 5, 6, 7), embedded(b, 12, 13, 14, 15)...)
	case within(addr, "::ffff:0:0:0/96"): // SIIT, RFC 2765 §2.1
		return embedded(b, 12, 13, 14, 15)
	case within(addr, "::/96") && !within(addr, "::/127"): // IPv4-compatible, RFC 4291 §2.5.5.1
		return embedded(b, 12, 13, 14, 15)
	case isatap(b): // within any prefix, so that the address itself counts too
		return append(embedded(b, 12, 13, 14, 15), addr)
	}
	return []netip.Addr{addr}
}

// isatap claims that the interface identifier is that of RFC 5214 §6.1.
func isatap(b [16]byte) bool { return b[8]&^2 == 0 && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe }

// localNAT64 returns what an address within 64:ff9b:1::/48 may stand for: whoever
// runs the translator chooses the prefix length, so every form of RFC 6052 §2.2
// that fits (its suffix is zero) is a candidate. None in 0.0.0.0/8 is, because
// that is what a form reads where another was meant; if nothing remains, the
// address stands for the unspecified one.
func localNAT64(b [16]byte) []netip.Addr {
	var found []netip.Addr
	for _, form := range [][5]int{
		{6, 7, 9, 10, 11},    // /48
		{7, 9, 10, 11, 12},   // /56
		{9, 10, 11, 12, 13},  // /64
		{12, 13, 14, 15, 16}, // /96
	} {
		inner := embedded(b, form[0], form[1], form[2], form[3])
		if allZero(b[form[4]:]) && inner[0].As4()[0] != 0 {
			found = append(found, inner...)
		}
	}
	if len(found) == 0 {
		return []netip.Addr{netip.IPv4Unspecified()}
	}
	return found
}

func embedded(b [16]byte, i, j, k, l int) []netip.Addr {
	return []netip.Addr{netip.AddrFrom4([4]byte{b[i], b[j], b[k], b[l]})}
}

func within(addr netip.Addr, prefix string) bool {
	return netip.MustParsePrefix(prefix).Contains(addr)
}

func allZero(b []byte) bool {
	return !slices.ContainsFunc(b, func(x byte) bool { return x != 0 })
}
