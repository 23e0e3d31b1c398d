package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/providertoken/operator/api/v1alpha1"
)

const (
	// pageSize of a list: a fleet is read in parts.
	pageSize = 500
	// manyTokens are more than a person means by accident: more need --yes.
	manyTokens = 10
)

// selection is which ProviderTokens a command is about.
type selection struct {
	selector   string
	everywhere bool
	// all and yes are for commands that change something.
	all, yes bool
}

// seeing adds the flags of commands that only look.
func (s *selection) seeing(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&s.selector, "selector", "l", "", "only those with these labels, as for kubectl: app=viewer,tier!=test")
	cmd.Flags().BoolVarP(&s.everywhere, "all-namespaces", "A", false, "in all namespaces")
}

// steering adds the flags of commands that change something.
func (s *selection) steering(cmd *cobra.Command) {
	s.seeing(cmd)
	cmd.Flags().BoolVar(&s.all, "all", false, "all of the namespace (with -A: of the cluster)")
	cmd.Flags().BoolVar(&s.yes, "yes", false, fmt.Sprintf("do it also to more than %d at once", manyTokens))
}

// check the arguments of a command that changes something.
func (s *selection) check(cmd *cobra.Command, args []string) error {
	switch {
	case len(args) > 0 && (s.all || s.selector != "" || s.everywhere):
		return misuse("%s takes either names, or -l or --all; see %s --help", cmd.Name(), cmd.CommandPath())
	case len(args) == 0 && !s.all && s.selector == "":
		return misuse("%s needs names of ProviderTokens, or -l LABELS, or --all: %s; \"kubectl providertoken list\" shows them", cmd.Name(), cmd.UseLine())
	case s.all && s.selector != "":
		return misuse("--all and -l contradict each other: use one of them")
	}
	return nil
}

// chosen are those that a command is to change: by name, or by what is selected.
func (s *selection) chosen(ctx context.Context, c *cluster, verb string, names []string) ([]v1alpha1.ProviderToken, error) {
	if len(names) > 0 {
		found := make([]v1alpha1.ProviderToken, 0, len(names))
		for _, name := range names {
			pt, err := c.token(ctx, name)
			if err != nil {
				return nil, err
			}
			found = append(found, *pt)
		}
		return found, nil
	}
	found, err := s.find(ctx, c)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("there is no ProviderToken %s; \"kubectl providertoken list\" shows what there is", s.phrase(c))
	}
	if len(found) > manyTokens && !s.yes {
		return nil, misuse("this would %s %d ProviderTokens %s; if that is meant, add --yes", verb, len(found), s.phrase(c))
	}
	return found, nil
}

// find lists what is selected, in parts.
func (s *selection) find(ctx context.Context, c *cluster) ([]v1alpha1.ProviderToken, error) {
	options, err := s.options(c)
	if err != nil {
		return nil, err
	}
	var found []v1alpha1.ProviderToken
	next := ""
	for {
		var list v1alpha1.ProviderTokenList
		err := c.List(ctx, &list, append(options, client.Limit(pageSize), client.Continue(next))...)
		if err != nil {
			return nil, c.explain(err, "listing ProviderTokens "+s.phrase(c))
		}
		found = append(found, list.Items...)
		if next = list.Continue; next == "" {
			return found, nil
		}
	}
}

func (s *selection) options(c *cluster) ([]client.ListOption, error) {
	var options []client.ListOption
	if !s.everywhere {
		options = append(options, client.InNamespace(c.namespace))
	}
	if s.selector != "" {
		selector, err := labels.Parse(s.selector)
		if err != nil {
			return nil, misuse("-l %s: %w; write it as for kubectl: app=viewer,tier!=test", s.selector, err)
		}
		options = append(options, client.MatchingLabelsSelector{Selector: selector})
	}
	return options, nil
}

// phrase says what is selected.
func (s *selection) phrase(c *cluster) string {
	text := fmt.Sprintf("in namespace %q", c.namespace)
	if s.everywhere {
		text = "in all namespaces"
	}
	if s.selector != "" {
		text += fmt.Sprintf(" with labels %q", s.selector)
	}
	return text
}
