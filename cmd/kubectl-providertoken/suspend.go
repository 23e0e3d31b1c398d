package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/providertoken/operator/api/v1alpha1"
)

const suspendHelp = `Stop asking the provider for tokens: set spec.suspend. The token that is there stays, and
works until it expires; edits of its Secret are still undone.

Where Argo CD or Flux manage the object, they may set it back: then set spec.suspend in Git.`

const resumeHelp = `Let tokens be asked for again: set spec.suspend to false. What is due is asked for at once.`

func newSuspendCommand(p *plugin) *cobra.Command {
	return p.suspension(&cobra.Command{
		Use: "suspend NAME...", Short: "Stop asking the provider for tokens", Long: suspendHelp,
		Example: "  kubectl providertoken suspend up42-token\n  kubectl providertoken suspend -l provider=up42 -A --yes",
	}, true)
}

func newResumeCommand(p *plugin) *cobra.Command {
	return p.suspension(&cobra.Command{
		Use: "resume NAME...", Short: "Let tokens be asked for again", Long: resumeHelp,
		Example: "  kubectl providertoken resume up42-token\n  kubectl providertoken resume --all -n imagery",
	}, false)
}

// suspension completes a command that sets spec.suspend.
func (p *plugin) suspension(cmd *cobra.Command, suspend bool) *cobra.Command {
	var chosen selection
	cmd.GroupID, cmd.Args, cmd.ValidArgsFunction = groupSteer, chosen.check, p.completeNames
	chosen.steering(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := p.cluster()
		if err != nil {
			return err
		}
		found, err := chosen.chosen(cmd.Context(), c, cmd.Name(), args)
		if err != nil {
			return err
		}
		var failed error
		for i := range found {
			if err := p.setSuspend(cmd.Context(), c, &found[i], suspend); err != nil {
				failed = worse(failed, p.complain(&found[i], err))
			}
		}
		return failed
	}
	return cmd
}

func (p *plugin) setSuspend(ctx context.Context, c *cluster, pt *v1alpha1.ProviderToken, suspend bool) error {
	if pt.Spec.Suspend == suspend {
		return say(p.Out(), "%s/%s: nothing to do, spec.suspend is %t already", pt.Namespace, pt.Name, suspend)
	}
	if err := c.patch(ctx, pt, map[string]any{"spec": map[string]any{"suspend": suspend}}); err != nil {
		return err
	}
	if by := managers(pt); len(by) > 0 {
		_ = say(p.Err(), "%s/%s: %s manages this object and may set spec.suspend back: set it to %t in Git, too", pt.Namespace, pt.Name, strings.Join(by, " and "), suspend)
	}
	return say(p.Out(), "%s/%s: %s", pt.Namespace, pt.Name, consequence(pt, suspend, judge(pt, p.clock.Now()), p))
}

// consequence says what a person should know now.
func consequence(pt *v1alpha1.ProviderToken, suspend bool, s standing, p *plugin) string {
	now := p.clock.Now()
	alive := s.expires.After(now)
	switch {
	case suspend && alive:
		return fmt.Sprintf("suspended; the token in Secret %q works until %s (%s)", pt.TargetName(), stamp(s.expires), from(now, s.expires))
	case suspend:
		return "suspended; there is no token that works"
	case alive:
		return fmt.Sprintf("resumed; the token in Secret %q works until %s (%s), and is replaced before", pt.TargetName(), stamp(s.expires), from(now, s.expires))
	}
	return "resumed; a token is asked for now"
}

// managers are the GitOps tools that keep pt as it is in Git, by the marks that they
// leave and the fields that they own.
func managers(pt *v1alpha1.ProviderToken) []string {
	const argo, flux = "Argo CD", "Flux"
	var found []string
	add := func(name string) {
		if !slices.Contains(found, name) {
			found = append(found, name)
		}
	}
	for key := range pt.Labels {
		if strings.HasPrefix(key, "kustomize.toolkit.fluxcd.io/") || strings.HasPrefix(key, "helm.toolkit.fluxcd.io/") {
			add(flux)
		}
		if strings.HasPrefix(key, "argocd.argoproj.io/") {
			add(argo)
		}
	}
	if pt.Annotations["argocd.argoproj.io/tracking-id"] != "" {
		add(argo)
	}
	for _, f := range pt.ManagedFields {
		switch {
		case strings.HasPrefix(f.Manager, "argocd"):
			add(argo)
		case f.Manager == "kustomize-controller", f.Manager == "helm-controller":
			add(flux)
		}
	}
	slices.Sort(found)
	return found
}
