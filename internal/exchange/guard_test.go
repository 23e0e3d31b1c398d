package exchange

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
)

func TestAddressesAreJudgedByTheirClass(t *testing.T) {
	const (
		never  = "never"
		public = "public only"
		always = "always"
	)
	for _, tc := range []struct {
		address string
		may     string // be dialled: never; unless publicOnly; always
		class   string
	}{
		{"8.8.8.8", always, ""},
		{"2606:4700:4700::1111", always, ""},
		{"100.63.255.255", always, ""},
		{"172.32.0.1", always, ""},
		{"2001:200::1", always, ""},

		{"127.0.0.1", never, "loopback"},
		{"127.255.255.254", never, "loopback"},
		{"::1", never, "loopback"},
		{"0.0.0.0", never, "unspecified"},
		{"0.1.2.3", never, "unspecified"},
		{"::", never, "unspecified"},
		{"169.254.169.254", never, "metadata"},
		{"169.254.170.2", never, "metadata"},
		{"fe80::1", never, "link-local"},
		{"fe80::1%eth0", never, "link-local"},
		{"fd00:ec2::254", never, "metadata"},
		{"fd20:ce::254", never, "metadata"},
		{"fd00:42::42", never, "metadata"},
		{"100.100.100.200", never, "metadata"},
		{"168.63.129.16", never, "metadata"},
		{"192.0.0.192", never, "metadata"},
		{"224.0.0.1", never, "multicast"},
		{"239.255.255.255", never, "multicast"},
		{"ff02::1", never, "multicast"},
		{"255.255.255.255", never, "broadcast"},

		{"10.0.0.1", public, "private"},
		{"172.16.0.1", public, "private"},
		{"172.31.255.255", public, "private"},
		{"192.168.1.1", public, "private"},
		{"fd12::1", public, "private"},
		{"fec0::1", public, "private"},
		{"100.64.0.1", public, "carrier-grade NAT"},
		{"198.18.0.1", public, "benchmark"},
		{"198.19.255.255", public, "benchmark"},
		{"2001:2::1", public, "benchmark"},
		{"192.0.2.1", public, "documentation"},
		{"198.51.100.1", public, "documentation"},
		{"203.0.113.1", public, "documentation"},
		{"2001:db8::1", public, "documentation"},
		{"3fff::1", public, "documentation"},
		{"192.0.0.8", public, "reserved"},
		{"192.88.99.1", public, "reserved"},
		{"240.0.0.1", public, "reserved"},
		{"2001:10::1", public, "reserved"},
		{"100::1", public, "reserved"},
		{"4000::1", public, "reserved"},
		{"34.118.224.1", public, "Service"},
		{"34.118.239.255", public, "Service"},
		{"34.118.240.1", always, ""},
		{"8000::1", public, "reserved"},

		{"::ffff:127.0.0.1", never, "loopback"},
		{"::ffff:10.0.0.1", public, "private"},
		{"::ffff:8.8.8.8", always, ""},
		{"::127.0.0.1", never, "loopback"},
		{"::8.8.8.8", always, ""},
		{"::ffff:0:169.254.169.254", never, "metadata"},
		{"::ffff:0:8.8.8.8", always, ""},
		{"64:ff9b::169.254.169.254", never, "metadata"},
		{"64:ff9b::10.1.2.3", public, "private"},
		{"64:ff9b::8.8.8.8", always, ""},
		{"64:ff9b:1::127.0.0.1", never, "loopback"},
		{"64:ff9b:1:7f00:0:100::", never, "loopback"},
		{"64:ff9b:1:a9fe:a9:fe00::", never, "metadata"},
		{"64:ff9b:1:a:0:100::", public, "private"}, // 10.0.1.0 with a prefix of 56 bits
		{"64:ff9b:1:0:8:808:800:0", always, ""},
		{"64:ff9b:1:0:a:0:100:0", public, "private"},
		{"64:ff9b:1::", never, "unspecified"},
		{"64:ff9b:1:808:8:800::", always, ""},
		{"2002:7f00:1::1", never, "loopback"},
		{"2002:a00:1::1", public, "private"},
		{"2002:808:808::1", always, ""},
		{"2001:0:808:808::80ff:fffe", never, "loopback"}, // client 127.0.0.1
		{"2001:0:808:808::f7f7:f7f7", always, ""},
		{"2001:0:7f00:1::f7f7:f7f7", never, "loopback"},  // server 127.0.0.1
		{"2001:0:808:808::f5ff:fffe", public, "private"}, // client 10.0.0.1
		{"2606:4700::5efe:169.254.169.254", never, "metadata"},
		{"2606:4700::200:5efe:10.0.0.1", public, "private"},
		{"2606:4700::5efe:8.8.8.8", always, ""},
		{"fd12::5efe:8.8.8.8", public, "private"},
	} {
		t.Run(tc.address, func(t *testing.T) {
			addr := netip.MustParseAddr(tc.address)
			for _, publicOnly := range []bool{false, true} {
				err := guard{publicOnly: publicOnly}.check(addr)
				refused := tc.may == never || tc.may == public && publicOnly
				if (err != nil) != refused {
					t.Fatalf("with publicOnly %v: %v", publicOnly, err)
				}
				if err != nil && !strings.Contains(err.Error(), tc.class) {
					t.Errorf("refused with %q, want words about %q", err, tc.class)
				}
			}
			everything := []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
			if err := (guard{publicOnly: true, allowed: everything}).check(addr); err != nil {
				t.Errorf("refused although it is allowed: %v", err)
			}
		})
	}
}

func TestAnAddressOfTheClusterIsNotPublic(t *testing.T) {
	const apiServer = "20.50.60.70" // public, as in a managed cluster
	g := guard{publicOnly: true, internal: []netip.Addr{netip.MustParseAddr(apiServer)}}
	for _, address := range []string{apiServer, "::ffff:" + apiServer, "64:ff9b::" + apiServer} {
		if err := g.check(netip.MustParseAddr(address)); err == nil || !strings.Contains(err.Error(), "of the cluster") {
			t.Errorf("%s: %v", address, err)
		}
	}
	if err := g.check(netip.MustParseAddr("20.50.60.71")); err != nil {
		t.Errorf("its neighbour: %v", err)
	}
	g.publicOnly = false
	if err := g.check(netip.MustParseAddr(apiServer)); err != nil {
		t.Errorf("for a vouched endpoint: %v", err)
	}
}

func TestAnAllowedNetworkIsKnownInEveryForm(t *testing.T) {
	g := guard{publicOnly: true, allowed: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("fd12::/64")}}
	for _, address := range []string{"10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::10.1.2.3", "2002:a01:203::", "fd12::7"} {
		if err := g.check(netip.MustParseAddr(address)); err != nil {
			t.Errorf("%s: %v", address, err)
		}
	}
	for _, address := range []string{"10.2.0.1", "64:ff9b::10.2.0.1", "fd12:0:0:1::", "127.0.0.1"} {
		if err := g.check(netip.MustParseAddr(address)); err == nil {
			t.Errorf("%s is let through", address)
		}
	}
}

func TestWhatIsNotAnAddressIsNotDialled(t *testing.T) {
	var refused *refusedAddressError
	if err := (guard{}).control(t.Context(), "unix", "/run/socket", nil); !errors.As(err, &refused) {
		t.Errorf("got %v", err)
	}
	if err := (guard{}).control(t.Context(), "tcp4", "8.8.8.8:443", nil); err != nil {
		t.Errorf("got %v", err)
	}
}

// FuzzNoFormOfAnAddressGetsPastTheGuard wraps an IPv4 address in each form: it
// must be refused whenever the address itself is.
func FuzzNoFormOfAnAddressGetsPastTheGuard(f *testing.F) {
	for _, seed := range []string{"127.0.0.1", "169.254.169.254", "10.0.0.1", "8.8.8.8", "0.0.0.0", "100.100.100.200"} {
		a := netip.MustParseAddr(seed).As4()
		f.Add(a[0], a[1], a[2], a[3], true)
	}
	f.Fuzz(func(t *testing.T, a, b, c, d byte, publicOnly bool) {
		g := guard{publicOnly: publicOnly}
		plain := netip.AddrFrom4([4]byte{a, b, c, d})
		if g.check(plain) == nil {
			return
		}
		for _, form := range [][16]byte{
			{10: 0xff, 11: 0xff, 12: a, 13: b, 14: c, 15: d},
			{12: a, 13: b, 14: c, 15: d},
			{8: 0xff, 9: 0xff, 12: a, 13: b, 14: c, 15: d},
			{0: 0, 1: 0x64, 2: 0xff, 3: 0x9b, 12: a, 13: b, 14: c, 15: d},
			{0: 0, 1: 0x64, 2: 0xff, 3: 0x9b, 5: 1, 12: a, 13: b, 14: c, 15: d},
			{0: 0, 1: 0x64, 2: 0xff, 3: 0x9b, 5: 1, 6: a, 7: b, 9: c, 10: d},
			{0: 0, 1: 0x64, 2: 0xff, 3: 0x9b, 5: 1, 7: a, 9: b, 10: c, 11: d},
			{0: 0, 1: 0x64, 2: 0xff, 3: 0x9b, 5: 1, 9: a, 10: b, 11: c, 12: d},
			{0: 0x20, 1: 0x02, 2: a, 3: b, 4: c, 5: d},
			{0: 0x26, 1: 0x06, 2: 0x47, 10: 0x5e, 11: 0xfe, 12: a, 13: b, 14: c, 15: d},
			{0: 0x26, 1: 0x06, 2: 0x47, 8: 2, 10: 0x5e, 11: 0xfe, 12: a, 13: b, 14: c, 15: d},
			{0: 0x20, 1: 0x01, 4: 8, 5: 8, 6: 8, 7: 8, 12: ^a, 13: ^b, 14: ^c, 15: ^d},
		} {
			// 0.x.y.z is what another form reads; the address as a whole is then judged by that.
			if addr := netip.AddrFrom16(form); a != 0 && g.check(addr) == nil {
				t.Errorf("%v is refused, %v is not", plain, addr)
			}
		}
	})
}
