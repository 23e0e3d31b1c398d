package consent

import "testing"

func TestHostsAreListedExactly(t *testing.T) {
	for _, c := range []struct {
		annotation, host string
		want             bool
	}{
		{"", "a.example:443", false},
		{"a.example", "a.example:443", true},
		{"A.Example", "a.example:443", true},
		{"a.example:443", "a.example:443", true},
		{"a.example", "a.example:8443", false},
		{"a.example:8443", "a.example:443", false},
		{"b.example, a.example", "a.example:443", true},
		{"*.example", "a.example:443", false},
		{"a.example.evil", "a.example:443", false},
		{" A.example , b", "a.example:443", true},
		{"a.example", "b.a.example:443", false},
		{"*", "a.example:443", false},
		{"[::1]", "[::1]:443", true},
		{"::1", "[::1]:443", true},
		{",,", ":443", false},
	} {
		if got := Hosts(c.annotation, c.host); got != c.want {
			t.Errorf("Hosts(%q, %q) = %v", c.annotation, c.host, got)
		}
	}
}

func TestAudiencesAreListedExactly(t *testing.T) {
	for _, c := range []struct {
		annotation, audience string
		want                 bool
	}{
		{"", "", false},
		{" , ", "", false},
		{"api://AzureADTokenExchange", "api://AzureADTokenExchange", true},
		{"api://AzureADTokenExchange", "api://azureadtokenexchange", false},
		{"https://a.example/", "https://a.example", false},
		{"https://b.example,  https://a.example ", "https://a.example", true},
		{"https://a.example https://b.example", "https://a.example", false},
		{"*", "https://a.example", false},
	} {
		if got := Audiences(c.annotation, c.audience); got != c.want {
			t.Errorf("Audiences(%q, %q) = %v", c.annotation, c.audience, got)
		}
	}
}
