package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/providertoken/operator/internal/provider"
	"github.com/providertoken/operator/internal/terminal"
	testworld "github.com/providertoken/operator/test/world"
)

// The real API server that all specs share, and the kubeconfig that points at it.
var (
	server     *testworld.Server
	k8s        client.Client
	kubeconfig string
)

func TestPlugin(t *testing.T) {
	RegisterFailHandler(Fail)
	RunSpecs(t, "kubectl providertoken")
}

var _ = BeforeSuite(func(ctx SpecContext) {
	server = testworld.NewServer(nil)
	k8s = server.Client
	kubeconfig = writeKubeconfig(GinkgoT().TempDir(), server.Config.Host, server.Config)
	for _, ns := range []string{"imagery", "billing", "empty", "providertoken-system"} {
		Expect(k8s.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}})).To(Succeed())
	}
	grantPeople(ctx)
	hang(ctx)
})

// writeKubeconfig writes one with the context "production".
func writeKubeconfig(folder, host string, c *rest.Config) string {
	config := clientcmdapi.NewConfig()
	config.Clusters["production"] = &clientcmdapi.Cluster{Server: host, CertificateAuthorityData: c.CAData}
	config.AuthInfos["me"] = &clientcmdapi.AuthInfo{ClientCertificateData: c.CertData, ClientKeyData: c.KeyData}
	config.Contexts["production"] = &clientcmdapi.Context{Cluster: "production", AuthInfo: "me", Namespace: "imagery"}
	config.CurrentContext = "production"
	file := filepath.Join(folder, "kubeconfig")
	Expect(clientcmd.WriteToFile(*config, file)).To(Succeed())
	return file
}

// The people of these specs, who have the roles that ship.
const (
	viewer  = "viewer@example.com"  // the role view in imagery, without Secrets
	editor  = "editor@example.com"  // the role edit in imagery
	nobody  = "nobody@example.com"  // no role
	watcher = "watcher@example.com" // may read ProviderTokens of imagery, and nothing else
)

// grantPeople binds what ships in config/users to people. The built-in roles are those of
// which view and edit are made by a controller that an API server alone does not have.
func grantPeople(ctx context.Context) {
	GinkgoHelper()
	bind := func(user string, roles ...string) {
		for _, role := range roles {
			Expect(k8s.Create(ctx, &rbacv1.RoleBinding{
				ObjectMeta: metav1.ObjectMeta{Namespace: "imagery", GenerateName: "person-"},
				RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
				Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}},
			})).To(Succeed())
		}
	}
	for _, file := range []string{"viewer_role.yaml", "editor_role.yaml"} {
		text, err := os.ReadFile(filepath.Join("..", "..", "config", "users", file))
		Expect(err).NotTo(HaveOccurred())
		var role rbacv1.ClusterRole
		Expect(yaml.Unmarshal(text, &role)).To(Succeed())
		Expect(k8s.Create(ctx, &role)).To(Succeed())
	}
	bind(viewer, "viewer", "system:aggregate-to-view")
	bind(editor, "editor", "system:aggregate-to-view", "system:aggregate-to-edit")
	bind(watcher, "viewer")
	for user, right := range map[string]authorizationv1.ResourceAttributes{
		viewer:  {Namespace: "imagery", Verb: "list", Resource: "pods"},
		editor:  {Namespace: "imagery", Verb: "get", Resource: "secrets"},
		watcher: {Namespace: "imagery", Verb: "list", Group: "providertoken.dev", Resource: "providertokens"},
	} {
		awaitRight(ctx, user, right)
	}
}

// awaitRight waits until the API server has seen a binding that was written.
func awaitRight(ctx context.Context, user string, right authorizationv1.ResourceAttributes) {
	GinkgoHelper()
	Eventually(func(g Gomega) {
		review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{User: user, ResourceAttributes: &right}}
		g.Expect(k8s.Create(ctx, review)).To(Succeed())
		g.Expect(review.Status.Allowed).To(BeTrue(), user)
	}).WithPolling(10 * time.Millisecond).Should(Succeed())
}

// person is somebody with the plugin in front of the cluster.
type person struct {
	*plugin
	screen bytes.Buffer
}

// person makes the plugin that they use. as is who they are; an administrator when empty.
func newPerson(c clock.WithTicker, as string) *person {
	p := &person{}
	p.plugin = newPlugin(sheet{&p.screen}, func(string) string { return "" })
	p.clock = c
	p.around = backdated
	p.catalog = provider.Builtin
	p.flags = genericclioptions.NewConfigFlags(false)
	p.flags.KubeConfig = new(kubeconfig) // of its own: reading the command line writes it
	if as != "" {
		p.flags.Impersonate = &as
	}
	return p
}

// types is what they see after typing a command.
func (p *person) types(ctx context.Context, args ...string) string {
	return strings.ReplaceAll(transcript(ctx, p.plugin, &p.screen, args...), server.Config.Host, "https://production.example.com:6443")
}

// paper is what a command writes while a spec reads it.
type paper struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (p *paper) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.Write(b)
}

func (p *paper) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

type recorder struct{ paper *paper }

func (r recorder) Out() io.Writer                  { return r.paper }
func (r recorder) Err() io.Writer                  { return r.paper }
func (r recorder) Password(string) (string, error) { return "", nil }

// watches runs a command until the returned function is called, which says how it ended.
func (p *person) watches(live bool, args ...string) (seen *paper, stop func() error) {
	GinkgoHelper()
	seen = &paper{}
	p.console = recorder{seen}
	p.plugin.screen = &terminal.Screen{Out: seen, Live: live}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.run(ctx, args) }()
	stop = sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
	DeferCleanup(func() { _ = stop() })
	return seen, stop
}
