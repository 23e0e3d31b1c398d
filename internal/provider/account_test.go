package provider

import "testing"

func TestSpellingsOfOneLoginAreOneAccount(t *testing.T) {
	account := func(url, username string) string {
		d := person()
		d.TokenURL = url
		return resolve(t, d, nil).Account(creds(CredUsername, username, CredPassword, "p"))
	}
	const url, me = "https://sso.example.com/realms/a/token", "me@example.com"
	for _, same := range []struct{ url, username string }{
		{"https://SSO.Example.com/realms/a/token", me},
		{"https://sso.example.com:443/realms/a/token", me},
		{"https://sso.example.com/realms/%61/token", me},
		{"https://sso.example.com//realms/x/../a/./token/", me},
		{"https://sso.example.com/realms/a;x=1/token;y", me},
		{"https://sso.example.com/realms/a/token?b=1&a=2", me},
		{"https://sso.example.com/Realms/A/Token", me},
		{url, " Me@Example.COM "},
	} {
		if got := account(same.url, same.username); got != account(url, me) {
			t.Errorf("%s for %q is another account: %q", same.url, same.username, got)
		}
	}
	for _, other := range []struct{ url, username string }{
		{"https://sso.example.com/realms/b/token", me},
		{"https://sso.example.com:8443/realms/a/token", me},
		{"https://sso.example.org/realms/a/token", me},
		{url, "you@example.com"},
	} {
		if account(other.url, other.username) == account(url, me) {
			t.Errorf("%s for %q is the same account", other.url, other.username)
		}
	}
	if account("https://[::ffff:192.0.2.1]/t", me) != account("https://192.0.2.1/t", me) {
		t.Error("a mapped address is another account")
	}
}

func TestOnlyAClientWithASecretProvesItself(t *testing.T) {
	public, confidential := person(), person()
	confidential.ClientAuthentication = SecretPost
	if resolve(t, public, nil).ProvesClient() || !resolve(t, confidential, nil).ProvesClient() {
		t.Error("the secret of a client counts where it is sent, and only there")
	}
}
