package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/providertoken/operator/api/v1alpha1"
)

const (
	userAgent = "kubectl-providertoken"
	// defaultServer is what the flags of kubectl assume where nothing is configured.
	defaultServer = "http://localhost:8080"
	// completionPatience: who presses the tab key does not wait longer.
	completionPatience = 2 * time.Second
)

// errNoCluster is for a machine on which kubectl does not work either.
var errNoCluster = errors.New("no cluster is configured: point KUBECONFIG or --kubeconfig at one, as for kubectl")

// cluster is the one that the flags of kubectl point at.
type cluster struct {
	client.WithWatch
	// namespace of the flags, the context, or "default".
	namespace string
	// context and server are what errors name.
	context, server string
}

// cluster opens the connection. No request is made yet.
func (p *plugin) cluster() (*cluster, error) {
	config, err := p.flags.ToRESTConfig()
	if err != nil {
		return nil, p.unconfigured(err)
	}
	loader := p.flags.ToRawKubeConfigLoader()
	namespace, _, err := loader.Namespace()
	if err != nil {
		return nil, p.unconfigured(err)
	}
	c := &cluster{namespace: namespace, server: config.Host}
	if raw, err := loader.RawConfig(); err == nil {
		c.context = raw.CurrentContext
		if len(raw.Clusters) == 0 && config.Host == defaultServer && *p.flags.APIServer == "" {
			return nil, errNoCluster
		}
	}
	if p.flags.Context != nil && *p.flags.Context != "" {
		c.context = *p.flags.Context
	}
	config.UserAgent = userAgent
	config.QPS = -1 // a person's few requests; the API server has its own fairness
	config.WarningHandler = rest.NewWarningWriter(p.Err(), rest.WarningWriterOptions{Deduplicate: true})
	scheme, mapper, err := kinds()
	if err != nil {
		return nil, err
	}
	c.WithWatch, err = client.NewWithWatch(config, client.Options{Scheme: scheme, Mapper: mapper})
	if err != nil {
		return nil, p.unconfigured(err)
	}
	if p.around != nil {
		c.WithWatch = p.around(c.WithWatch)
	}
	return c, nil
}

// kinds are those that commands read and write. They are known, so that nothing has
// to be discovered: a command is one request, and needs no right to discovery.
func kinds() (*runtime.Scheme, meta.RESTMapper, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, eventsv1.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, nil, err
		}
	}
	mapper := meta.NewDefaultRESTMapper(scheme.PrioritizedVersionsAllGroups())
	for _, kind := range []string{"Secret", "ConfigMap", "Pod", "ServiceAccount"} {
		mapper.Add(corev1.SchemeGroupVersion.WithKind(kind), meta.RESTScopeNamespace)
	}
	mapper.Add(corev1.SchemeGroupVersion.WithKind("Namespace"), meta.RESTScopeRoot)
	mapper.Add(eventsv1.SchemeGroupVersion.WithKind("Event"), meta.RESTScopeNamespace)
	for _, kind := range []string{"ProviderToken", "TokenProvider"} {
		mapper.Add(v1alpha1.GroupVersion.WithKind(kind), meta.RESTScopeNamespace)
	}
	mapper.Add(v1alpha1.GroupVersion.WithKind("ClusterTokenProvider"), meta.RESTScopeRoot)
	return scheme, mapper, nil
}

// unconfigured explains that kubectl does not know of a cluster.
func (p *plugin) unconfigured(err error) error {
	if clientcmd.IsEmptyConfig(err) || errors.Is(err, rest.ErrNotInCluster) {
		return errNoCluster
	}
	raw, unreadable := p.flags.ToRawKubeConfigLoader().RawConfig()
	if wanted := *p.flags.Context; unreadable == nil && wanted != "" && raw.Contexts[wanted] == nil {
		known := slices.Sorted(maps.Keys(raw.Contexts))
		if near := nearest(wanted, known); near != "" {
			return fmt.Errorf("the kubeconfig has no context %q; did you mean %q?", wanted, near)
		}
		return fmt.Errorf("the kubeconfig has no context %q; it has %s", wanted, enumerate(known, 8))
	}
	return fmt.Errorf("reading the kubeconfig: %w; does \"kubectl version\" work?", err)
}

// where names the cluster in errors.
func (c *cluster) where() string {
	if c.context == "" {
		return c.server
	}
	return fmt.Sprintf("context %q (%s)", c.context, c.server)
}

// explain says what to do about an error of the API server. what is what was tried,
// as in "listing ProviderTokens in namespace imagery".
func (c *cluster) explain(err error, what string) error {
	var forbidden *apierrors.StatusError
	var dialled *url.Error
	var network net.Error
	switch {
	case err == nil, errors.Is(err, context.Canceled):
		return err
	case meta.IsNoMatchError(err) || apierrors.IsNotFound(err) && apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse):
		return fmt.Errorf("%s: the cluster of %s does not know ProviderTokens; if it is the right one, install the operator: kubectl apply --server-side -f dist/crds.yaml -f dist/install.yaml; otherwise choose another by --context", what, c.where())
	case apierrors.IsForbidden(err) && errors.As(err, &forbidden):
		return fmt.Errorf("%s: you have no right to it: %s; ask for the role view (to see) or edit (to change) in that namespace, or name one that you may see by -n", what, forbidden.ErrStatus.Message)
	case apierrors.IsUnauthorized(err):
		return fmt.Errorf("%s: the cluster of %s does not know who you are: log in again, as for kubectl", what, c.where())
	case errors.As(err, &dialled) || errors.As(err, &network):
		return fmt.Errorf("%s: the cluster of %s cannot be reached: %w; does \"kubectl get namespaces\" work?", what, c.where(), err)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// token reads one ProviderToken, and knows names like it where there is none.
func (c *cluster) token(ctx context.Context, name string) (*v1alpha1.ProviderToken, error) {
	var pt v1alpha1.ProviderToken
	err := c.Get(ctx, client.ObjectKey{Namespace: c.namespace, Name: name}, &pt)
	if apierrors.IsNotFound(err) && !apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse) {
		return nil, c.unknown(ctx, name)
	}
	return &pt, c.explain(err, fmt.Sprintf("reading ProviderToken %s/%s", c.namespace, name))
}

// unknown says that there is no such ProviderToken, and which one may be meant.
func (c *cluster) unknown(ctx context.Context, name string) error {
	missing := fmt.Sprintf("there is no ProviderToken %q in namespace %q", name, c.namespace)
	here, err := c.names(ctx, c.namespace)
	if err != nil {
		return errors.New(missing)
	}
	if near := nearest(name, here); near != "" {
		return fmt.Errorf("%s; did you mean %q?", missing, near)
	}
	if everywhere, err := c.homes(ctx, name); err == nil && len(everywhere) > 0 {
		return fmt.Errorf("%s; there is one in %s: use -n", missing, strings.Join(everywhere, ", "))
	}
	if len(here) == 0 {
		return fmt.Errorf("%s, nor any other; name the namespace by -n, or look everywhere: kubectl providertoken list -A", missing)
	}
	return fmt.Errorf("%s; there are %s", missing, enumerate(here, 5))
}

// homes are the namespaces that have a ProviderToken of that name.
func (c *cluster) homes(ctx context.Context, name string) ([]string, error) {
	list, err := c.metadata(ctx, "")
	if err != nil {
		return nil, err
	}
	var found []string
	for i := range list.Items {
		if list.Items[i].Name == name {
			found = append(found, list.Items[i].Namespace)
		}
	}
	return found, nil
}

// names of the ProviderTokens of a namespace.
func (c *cluster) names(ctx context.Context, namespace string) ([]string, error) {
	list, err := c.metadata(ctx, namespace)
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(list.Items))
	for i := range list.Items {
		names = append(names, list.Items[i].Name)
	}
	slices.Sort(names)
	return names, nil
}

func (c *cluster) metadata(ctx context.Context, namespace string) (*metav1.PartialObjectMetadataList, error) {
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("ProviderTokenList"))
	return list, c.List(ctx, list, client.InNamespace(namespace))
}

// completeNames offers the names of ProviderTokens that are not given yet.
func (p *plugin) completeNames(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(cmd.Context(), completionPatience)
	defer cancel()
	c, err := p.cluster()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	names, err := c.names(ctx, c.namespace)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return slices.DeleteFunc(names, func(n string) bool { return slices.Contains(args, n) }), cobra.ShellCompDirectiveNoFileComp
}

// completeOneName offers names while there is none.
func (p *plugin) completeOneName(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return p.completeNames(cmd, args, typed)
}

// completeFlags offers namespaces and contexts.
func (p *plugin) completeFlags(root *cobra.Command) {
	_ = root.RegisterFlagCompletionFunc("namespace", func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		ctx, cancel := context.WithTimeout(cmd.Context(), completionPatience)
		defer cancel()
		c, err := p.cluster()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		list := &metav1.PartialObjectMetadataList{}
		list.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("NamespaceList"))
		if err := c.List(ctx, list); err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		names := make([]string, 0, len(list.Items))
		for i := range list.Items {
			names = append(names, list.Items[i].Name)
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	})
	_ = root.RegisterFlagCompletionFunc("context", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		raw, err := p.flags.ToRawKubeConfigLoader().RawConfig()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return slices.Sorted(maps.Keys(raw.Contexts)), cobra.ShellCompDirectiveNoFileComp
	})
}
