//go:build recipes

package recipes

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"testing"
	"time"
)

// externalSecrets runs the controller with the store that it has for tests, whose
// content is in its own spec.
func externalSecrets(t *testing.T, k *kitchen) string {
	s := k.newSpace(t, "external-secrets")
	s.do(t, "apply", "--server-side", "-f", filepath.Join(k.build, "external-secrets-crds"))
	s.do(t, "wait", "--for=condition=Established", "crd/externalsecrets.external-secrets.io", "crd/secretstores.external-secrets.io", "--timeout="+patience.String())
	k.start(t, "external-secrets", "--metrics-addr=127.0.0.1:0", "--loglevel=debug")

	// The token first; then the store, with a password that is not the right one.
	s.apply(t, k.manifest(t, "viewer-token.yaml"))
	s.apply(t, store(t, wrongSecret))
	s.apply(t, k.manifest(t, "external-secret.yaml"))
	s.await(t, "condition=Ready", "externalsecret/sso-client")
	s.await(t, `jsonpath={.status.conditions[?(@.type=="TokenIssued")].reason}=RequestDenied`, "ptok/viewer-token")
	secret := s.get(t, "secret", "sso-client")
	if got := secret.Metadata.Labels["providertoken.dev/credentials-for"]; got != forSSO {
		t.Fatalf("the Secret has the label %q", got)
	}

	// The password is corrected in the store.
	s.apply(t, store(t, clientSecret))
	s.sync(t)
	target := s.ready(t, "viewer-token")
	if !k.provider.accepts(string(target.Data["token"])) {
		t.Error("the provider does not accept the token")
	}
	after := s.get(t, "secret", "sso-client")
	if got := after.Metadata.Labels["providertoken.dev/credentials-for"]; got != forSSO || after.Metadata.UID != secret.Metadata.UID {
		t.Errorf("the rotated Secret has the label %q, and was recreated: %t", got, after.Metadata.UID != secret.Metadata.UID)
	}

	// Somebody edits the label on the Secret: then it is for another provider, and the
	// next sync puts it right. The token that is there stays.
	s.do(t, "label", "secret", "sso-client", "--overwrite", "providertoken.dev/credentials-for=UP42")
	s.await(t, "condition=CredentialsResolved=false", "ptok/viewer-token")
	s.sync(t)
	s.await(t, "condition=CredentialsResolved", "ptok/viewer-token")
	if reason := s.get(t, "ptok", "viewer-token").reason("Ready"); reason != "True Ready" {
		t.Errorf("Ready is %q", reason)
	}
	kept(t, s.refresh(t, "viewer-token"))
	return "the template's label reached the Secret and survived a rotation, and was put right after an edit; the corrected password made the refused ProviderToken Ready by itself"
}

// sync now, instead of after the refreshInterval.
func (s space) sync(t *testing.T) {
	t.Helper()
	s.do(t, "annotate", "externalsecret", "sso-client", "--overwrite", "force-sync="+time.Now().Format(time.RFC3339Nano))
}

// store holds the client's secret in its spec.
func store(t *testing.T, secret string) string {
	t.Helper()
	value, err := json.Marshal(map[string]string{"client_id": clientID, "client_secret": secret})
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("{apiVersion: external-secrets.io/v1, kind: SecretStore, metadata: {name: vault}, spec: {provider: {fake: {data: [{key: sso/viewer, value: %s}]}}}}", quoted(string(value)))
}
