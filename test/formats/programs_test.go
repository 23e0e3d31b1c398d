package formats

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

func TestCurlReadsItsHeaderFile(t *testing.T) {
	curl := installed(t, "apt-get install curl", "curl")
	each(t, samples(), func(t *testing.T, access string) {
		g := newGuard(t, ok)
		directory := mounted(t, secret(t, "curl-header.yaml", access))
		if _, err := run(t, nil, "", curl, "--silent", "--show-error", "--fail", "--header", "@"+filepath.Join(directory, "header"), g.URL); err != nil {
			t.Fatal(err)
		}
		g.wants(t, "Bearer "+access)
	})
}

func TestCurlReadsNetrc(t *testing.T) {
	curl := installed(t, "apt-get install curl", "curl")
	each(t, netrcWords(), func(t *testing.T, access string) {
		g := newGuard(t, ok)
		directory := mounted(t, secret(t, "netrc.yaml", access, swap{"api.example.com", "127.0.0.1"}))
		if _, err := run(t, nil, "", curl, "--silent", "--show-error", "--fail", "--netrc-file", filepath.Join(directory, ".netrc"), g.URL); err != nil {
			t.Fatal(err)
		}
		g.wants(t, basic("oauth2", access))
	})
}

func TestPythonReadsNetrc(t *testing.T) {
	python := installed(t, "apt-get install python3", "python3")
	each(t, netrcWords(), func(t *testing.T, access string) {
		directory := mounted(t, secret(t, "netrc.yaml", access))
		got, err := run(t, nil, "", python, "-c", `import netrc, sys
n = netrc.netrc(sys.argv[1])
assert list(n.hosts) == ["api.example.com"] and n.authenticators("other.example.com") is None
print("\n".join(n.authenticators("api.example.com")[0::2]), end="")`, filepath.Join(directory, ".netrc"))
		if err != nil {
			t.Fatal(err)
		}
		same(t, got, "oauth2\n"+access)
	})
}

// gitEnvironment keeps Git from this machine's configuration, and from asking people.
func gitEnvironment() []string {
	return []string{"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_TERMINAL_PROMPT=0", "GIT_ASKPASS=false"}
}

func TestGitReadsItsCredentialStore(t *testing.T) {
	git := installed(t, "apt-get install git", "git")
	each(t, samples(), func(t *testing.T, access string) {
		directory := mounted(t, secret(t, "git-credentials.yaml", access))
		got, err := run(t, gitEnvironment(), "protocol=https\nhost=git.example.com\n\n",
			git, "-c", "credential.helper=store --file="+filepath.Join(directory, "credentials"), "credential", "fill")
		if err != nil {
			t.Fatal(err)
		}
		same(t, got, "protocol=https\nhost=git.example.com\nusername=oauth2\npassword="+access+"\n")
	})
}

func TestGitSendsTheHeaderOfItsConfiguration(t *testing.T) {
	git := installed(t, "apt-get install git", "git")
	each(t, samples(), func(t *testing.T, access string) {
		g := newGuard(t, notFound)
		directory := mounted(t, secret(t, "git-header.yaml", access, swap{"https://git.example.com/", g.URL + "/"}))
		_, _ = run(t, gitEnvironment(), "", git, "-c", "include.path="+filepath.Join(directory, "config"), "ls-remote", g.URL+"/team/deploy.git")
		g.wants(t, "Bearer "+access)
	})
}

func TestPipLogsIntoItsIndex(t *testing.T) {
	pip := installed(t, "apt-get install python3-pip", "pip3", "pip")
	each(t, hard(), func(t *testing.T, access string) {
		g := newGuard(t, notFound)
		directory := mounted(t, secret(t, "pip.yaml", access, swap{"https://oauth2:", "http://oauth2:"}, swap{"pypi.example.com", g.host()}))
		environment := []string{"PIP_CONFIG_FILE=" + filepath.Join(directory, "pip.conf"), "PIP_EXTRA_INDEX_URL=", "PIP_DISABLE_PIP_VERSION_CHECK=1"}
		_, _ = run(t, environment, "", pip, "download", "--no-cache-dir", "--no-deps", "--retries=0", "no-such-package")
		g.wants(t, basic("oauth2", access))
	})
}

func TestNpmLogsIntoItsRegistry(t *testing.T) {
	npm := installed(t, "apt-get install npm", "npm")
	each(t, hard(), func(t *testing.T, access string) {
		g := newGuard(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(`{"username": "viewer"}`))
		})
		directory := mounted(t, secret(t, "npm.yaml", access, swap{"https://npm.example.com/", g.URL + "/"}, swap{"//npm.example.com/", "//" + g.host() + "/"}))
		environment := []string{"NPM_CONFIG_USERCONFIG=" + filepath.Join(directory, "npmrc"), "NPM_CONFIG_GLOBALCONFIG=/dev/null", "NPM_CONFIG_UPDATE_NOTIFIER=false"}
		if got, err := run(t, environment, "", npm, "whoami"); err != nil || strings.TrimSpace(got) != "viewer" {
			t.Fatalf("npm whoami says %q: %v", got, err)
		}
		g.wants(t, "Bearer "+access)
	})
}

func TestGDALReadsItsHeaderFileBeforeEachRequest(t *testing.T) {
	gdalinfo := installed(t, "apt-get install gdal-bin", "gdalinfo")
	for way, arguments := range map[string]func(file, server string) (environment []string, scene string){
		"by environment": func(file, server string) ([]string, string) {
			return []string{"GDAL_HTTP_HEADER_FILE=" + file}, "/vsicurl/" + server + "/scene.tif"
		},
		"by path": func(file, server string) ([]string, string) {
			return nil, "/vsicurl?header_file=" + file + "&url=" + server + "/scene.tif"
		},
	} {
		t.Run(way, func(t *testing.T) {
			each(t, samples(), func(t *testing.T, access string) {
				directory := mounted(t, secret(t, "gdal.yaml", "first"))
				next := secret(t, "gdal.yaml", access).Data["header"]
				var shown []string
				g := newGuard(t, func(w http.ResponseWriter, r *http.Request) {
					// By path, GDAL first looks for a directory, without the file. Requests come one at a time.
					if authorization := r.Header.Get("Authorization"); authorization != "" {
						shown = append(shown, authorization)
					}
					if len(shown) == 1 {
						if err := os.WriteFile(filepath.Join(directory, "header"), next, 0o600); err != nil {
							t.Error(err)
						}
					}
					http.ServeContent(w, r, "scene.tif", time.Time{}, strings.NewReader(strings.Repeat("no image", 100)))
				})
				environment, scene := arguments(filepath.Join(directory, "header"), g.URL)
				_, _ = run(t, environment, "", gdalinfo, scene)
				if len(shown) < 2 || shown[0] != "Bearer first" {
					t.Fatalf("%d requests, the first with %q", len(shown), shown)
				}
				same(t, shown[1], "Bearer "+access)
			})
		})
	}
}

func TestRcloneTakesTheNextTokenWhenOneIsRefused(t *testing.T) {
	rclone := installed(t, "apt-get install rclone", "rclone")
	each(t, samples(), func(t *testing.T, access string) {
		var directory string
		var calls atomic.Int32
		var last atomic.Value
		g := newGuard(t, func(w http.ResponseWriter, r *http.Request) {
			if calls.Add(1) == 1 { // the kubelet shows another token meanwhile
				if err := os.WriteFile(filepath.Join(directory, "token"), []byte(access), 0o600); err != nil {
					t.Error(err)
				}
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			last.Store(r.Header.Get("Authorization"))
			w.Header().Set("Content-Type", "application/xml")
			w.WriteHeader(http.StatusMultiStatus)
			_, _ = w.Write([]byte(`<d:multistatus xmlns:d="DAV:"><d:response><d:href>/</d:href><d:propstat><d:prop><d:resourcetype><d:collection/></d:resourcetype></d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response></d:multistatus>`))
		})
		directory = mountedAs(t, func(directory string) *corev1.Secret {
			return secret(t, "rclone.yaml", "first", swap{"https://dav.example.com/", g.URL + "/"}, swap{"/var/run/secrets/dav", directory})
		})
		if _, err := run(t, nil, "", rclone, "--config", filepath.Join(directory, "rclone.conf"), "lsf", "scenes:"); err != nil {
			t.Fatal(err)
		}
		if got := last.Load(); got != "Bearer "+access {
			t.Errorf("after the refusal, the server was shown %v, want %q", got, "Bearer "+access)
		}
	})
}

func TestTheAWSCommandLineRunsTheProcess(t *testing.T) {
	aws := installed(t, "apt-get install awscli", "aws")
	each(t, hard(), func(t *testing.T, access string) {
		var shown atomic.Value
		g := newGuard(t, func(w http.ResponseWriter, r *http.Request) {
			shown.Store(r.Header.Get("X-Amz-Security-Token"))
			w.WriteHeader(http.StatusForbidden)
		})
		directory := mountedAs(t, func(directory string) *corev1.Secret {
			return secret(t, "aws-process.yaml", access, swap{"/var/run/secrets/storage", directory})
		})
		environment := []string{"AWS_PROFILE=storage", "AWS_CONFIG_FILE=" + filepath.Join(directory, "config"), "AWS_EC2_METADATA_DISABLED=true", "AWS_REGION=us-east-1", "AWS_DEFAULT_REGION=us-east-1"}
		_, _ = run(t, environment, "", aws, "--endpoint-url", g.URL, "s3api", "list-buckets")
		if got, _ := shown.Load().(string); got != access {
			t.Errorf("the server was shown %q, want %q", short(got), short(access))
		}
	})
}
