package formats

import (
	"bufio"
	"bytes"
	"net/http"
	"net/textproto"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/credentials/processcreds"
	"github.com/docker/cli/cli/config"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/fluxcd/pkg/git"
	kubeauth "github.com/google/go-containerregistry/pkg/authn/kubernetes"
	"github.com/google/go-containerregistry/pkg/name"
	promconfig "github.com/prometheus/common/config"
	"github.com/unknwon/goconfig"
	yamlv2 "go.yaml.in/yaml/v2"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	// The messages that the filter's Any fields name.
	injectorv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/credential_injector/v3"
	genericv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/http/injected_credentials/generic/v3"

	"github.com/providertoken/operator/internal/target"
)

// dockerConfigs are the examples that hold Docker's configuration, with the user name.
func dockerConfigs() map[string]string {
	return map[string]string{"image-pull.yaml": "oauth2accesstoken", "flux-oci.yaml": "oauth2accesstoken"}
}

func TestDockersClientReadsDockerConfig(t *testing.T) {
	for example, user := range dockerConfigs() {
		each(t, samples(), func(t *testing.T, access string) {
			file, err := config.LoadFromReader(bytes.NewReader(secret(t, example, access).Data[corev1.DockerConfigJsonKey]))
			if err != nil {
				t.Fatal(err)
			}
			got, err := file.GetAuthConfig("registry.example.com")
			if err != nil {
				t.Fatal(err)
			}
			same(t, got.Username, user)
			same(t, got.Password, access)
			if other, _ := file.GetAuthConfig("other.example.com"); other.Password != "" {
				t.Error("another registry gets the token, too")
			}
		})
	}
}

// The keychain is the kubelet's own, in the form in which Flux uses it for OCI sources.
func TestTheKubeletsKeyringReadsDockerConfig(t *testing.T) {
	for example, user := range dockerConfigs() {
		each(t, samples(), func(t *testing.T, access string) {
			keychain, err := kubeauth.NewFromPullSecrets(t.Context(), []corev1.Secret{*secret(t, example, access)})
			if err != nil {
				t.Fatal(err)
			}
			for image, want := range map[string]string{"registry.example.com/team/viewer:1.0": access, "other.example.com/viewer": ""} {
				ref, err := name.ParseReference(image)
				if err != nil {
					t.Fatal(err)
				}
				authenticator, err := keychain.Resolve(ref.Context())
				if err != nil {
					t.Fatal(err)
				}
				got, err := authenticator.Authorization()
				if err != nil {
					t.Fatal(err)
				}
				same(t, got.Password, want)
				if want != "" {
					same(t, got.Username, user)
				}
			}
		})
	}
}

func TestFluxReadsGitSecrets(t *testing.T) {
	repository := url.URL{Scheme: "https", Host: "git.example.com", Path: "/team/deploy.git"}
	each(t, samples(), func(t *testing.T, access string) {
		login, err := git.NewAuthOptions(repository, secret(t, "flux-git.yaml", access).Data)
		if err != nil {
			t.Fatal(err)
		}
		same(t, login.Username, "oauth2")
		same(t, login.Password, access)
		bearer, err := git.NewAuthOptions(repository, secret(t, "flux-bearer.yaml", access).Data)
		if err != nil {
			t.Fatal(err)
		}
		same(t, bearer.BearerToken, access)
		same(t, bearer.Password, "")
	})
}

func TestNetTextprotoReadsHeaderFiles(t *testing.T) {
	for _, example := range []string{"curl-header.yaml", "gdal.yaml"} {
		each(t, samples(), func(t *testing.T, access string) {
			file := string(secret(t, example, access).Data[target.HeaderKey])
			header, err := textproto.NewReader(bufio.NewReader(strings.NewReader(file + "\r\n\r\n"))).ReadMIMEHeader()
			if err != nil || len(header) != 1 {
				t.Fatalf("header has %d fields: %v", len(header), err)
			}
			same(t, header.Get("Authorization"), "Bearer "+access)
		})
	}
}

func TestPrometheusReadsItsCredentialsFileAtEachRequest(t *testing.T) {
	each(t, samples(), func(t *testing.T, access string) {
		directory := mounted(t, secret(t, "prometheus-token.yaml", "first"))
		text, err := example("prometheus.yaml", swap{"/var/run/secrets/exporter", directory})
		if err != nil {
			t.Fatal(err)
		}
		var scrape struct {
			Configs []struct {
				Name   string                      `yaml:"job_name"`
				Scheme string                      `yaml:"scheme"`
				Hosts  []map[string][]string       `yaml:"static_configs"`
				Client promconfig.HTTPClientConfig `yaml:",inline"`
			} `yaml:"scrape_configs"`
		}
		if err := yamlv2.UnmarshalStrict([]byte(text), &scrape); err != nil {
			t.Fatal(err)
		}
		client, err := promconfig.NewClientFromConfig(scrape.Configs[0].Client, "exporter")
		if err != nil {
			t.Fatal(err)
		}
		for _, current := range []string{"first", access} {
			if err := os.WriteFile(filepath.Join(directory, "token"), []byte(current), 0o600); err != nil {
				t.Fatal(err)
			}
			g := newGuard(t, ok)
			answer, err := client.Get(g.URL)
			if err != nil {
				t.Fatal(err)
			}
			_ = answer.Body.Close()
			g.wants(t, "Bearer "+current)
		}
	})
}

// validated is what Envoy's generated messages have.
type validated interface {
	proto.Message
	ValidateAll() error
}

// envoys reads YAML into one of Envoy's messages, as Envoy does: through JSON, with
// unknown fields refused, and with the rules of its API.
func envoys(t *testing.T, text []byte, into validated) {
	t.Helper()
	encoded, err := yaml.YAMLToJSONStrict(text)
	if err != nil {
		t.Fatal(err)
	}
	if err := protojson.Unmarshal(encoded, into); err != nil {
		t.Fatal(err)
	}
	if err := into.ValidateAll(); err != nil {
		t.Fatal(err)
	}
}

func TestEnvoyReadsItsSecretFile(t *testing.T) {
	each(t, samples(), func(t *testing.T, access string) {
		var response discoveryv3.DiscoveryResponse
		envoys(t, secret(t, "envoy-secret.yaml", access).Data["sds.yaml"], &response)
		var got tlsv3.Secret
		if len(response.GetResources()) != 1 {
			t.Fatalf("%d resources", len(response.GetResources()))
		}
		if err := response.GetResources()[0].UnmarshalTo(&got); err != nil {
			t.Fatal(err)
		}
		if err := got.ValidateAll(); err != nil {
			t.Fatal(err)
		}
		same(t, got.GetName(), "api-token")
		same(t, got.GetGenericSecret().GetSecret().GetInlineString(), "Bearer "+access)
	})
}

func TestEnvoysFilterNamesThatSecret(t *testing.T) {
	text, err := example("envoy-filter.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var filter hcmv3.HttpFilter
	envoys(t, []byte(text), &filter)
	var injector injectorv3.CredentialInjector
	if err := filter.GetTypedConfig().UnmarshalTo(&injector); err != nil {
		t.Fatal(err)
	}
	var generic genericv3.Generic
	if err := injector.GetCredential().GetTypedConfig().UnmarshalTo(&generic); err != nil {
		t.Fatal(err)
	}
	for _, m := range []validated{&injector, &generic} {
		if err := m.ValidateAll(); err != nil {
			t.Fatal(err)
		}
	}
	same(t, generic.GetCredential().GetName(), "api-token")
	same(t, filepath.Base(generic.GetCredential().GetSdsConfig().GetPathConfigSource().GetPath()), "sds.yaml")
}

func TestRclonesParserReadsItsConfiguration(t *testing.T) {
	file, err := goconfig.LoadFromReader(bytes.NewReader(secret(t, "rclone.yaml", samples()[1].access).Data["rclone.conf"]))
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{"type": "webdav", "url": "https://dav.example.com/", "bearer_token_command": "cat /var/run/secrets/dav/token"} {
		got, err := file.GetValue("scenes", key)
		if err != nil {
			t.Error(err)
		}
		same(t, got, want)
	}
}

func TestTheAWSSDKRunsTheProcess(t *testing.T) {
	each(t, samples(), func(t *testing.T, access string) {
		directory := mountedAs(t, func(directory string) *corev1.Secret {
			return secret(t, "aws-process.yaml", access, swap{"/var/run/secrets/storage", directory})
		})
		shared, err := goconfig.LoadConfigFile(filepath.Join(directory, "config"))
		if err != nil {
			t.Fatal(err)
		}
		command, err := shared.GetValue("profile storage", "credential_process")
		if err != nil {
			t.Fatal(err)
		}
		got, err := processcreds.NewProvider(command).Retrieve(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		same(t, got.SessionToken, access)
		if !got.CanExpire || !got.Expires.Equal(content(access).Token.ExpiresAt) {
			t.Errorf("the credentials expire at %s", got.Expires)
		}
	})
}

// A plain file is all that programs need which can read one for each request.
func TestThePlainKeysAreWhatAHeaderTakes(t *testing.T) {
	each(t, samples(), func(t *testing.T, access string) {
		g := newGuard(t, ok)
		directory := mounted(t, secret(t, "prometheus-token.yaml", access))
		authorization, err := os.ReadFile(filepath.Join(directory, "authorization"))
		if err != nil {
			t.Fatal(err)
		}
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.URL, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", string(authorization))
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		g.wants(t, "Bearer "+access)
	})
}
