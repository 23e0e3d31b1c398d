package main

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"text/template"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

//go:embed objects/providertoken.yaml
var providerTokens string

// creators is how many objects are created at a time.
const creators = 32

// group is a number of objects alike.
type group struct {
	// Name of the group, and of its namespace.
	Name  string
	Count int
	Host  host
	// Lead and Interval of refreshes; Lead is zero for the operator's default.
	Lead, Interval time.Duration
}

// object is what a template is filled with for each token.
type object struct {
	Name, Namespace, Secret string
	Host                    host
	Lead, Interval          time.Duration
}

// readTemplate parses that file, or what the operator of this repository is given when
// it is empty.
func readTemplate(file string) (*template.Template, error) {
	text := providerTokens
	if file != "" {
		content, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("reading the template of the objects: %w", err)
		}
		text = string(content)
	}
	t, err := template.New("objects").Option("missingkey=error").Parse(text)
	if err != nil {
		return nil, fmt.Errorf("reading the template of the objects: %w", err)
	}
	if t.Lookup("shared") == nil || t.Lookup("object") == nil {
		return nil, errors.New(`the template of the objects must define "shared" and "object"; see hack/bench/objects`)
	}
	return t, nil
}

// render fills a template, and reads the objects in it.
func render(t *template.Template, name string, data any) ([]*unstructured.Unstructured, error) {
	var text bytes.Buffer
	if err := t.ExecuteTemplate(&text, name, data); err != nil {
		return nil, fmt.Errorf("filling the template of the objects: %w", err)
	}
	var found []*unstructured.Unstructured
	decoder := yaml.NewYAMLOrJSONDecoder(&text, 4096)
	for {
		o := &unstructured.Unstructured{}
		switch err := decoder.Decode(&o.Object); {
		case errors.Is(err, io.EOF):
			return found, nil
		case err != nil:
			return nil, fmt.Errorf("reading what the template of the objects says: %w", err)
		case len(o.Object) > 0:
			found = append(found, o)
		}
	}
}

// create makes the objects of all groups.
func (p *plane) create(ctx context.Context, t *template.Template, groups []group) error {
	c, err := client.New(p.admin, client.Options{})
	if err != nil {
		return fmt.Errorf("making a client: %w", err)
	}
	var hosts []host
	for _, g := range groups {
		hosts = append(hosts, g.Host)
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: g.Name}}
		if _, err := p.core.CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("creating a namespace: %w", err)
		}
	}
	if err := createAll(ctx, c, t, "shared", map[string]any{"Hosts": hosts}); err != nil {
		return err
	}
	for _, g := range groups {
		if err := createGroup(ctx, c, t, g); err != nil {
			return err
		}
	}
	return nil
}

func createGroup(ctx context.Context, c client.Client, t *template.Template, g group) error {
	var team errgroup.Group
	team.SetLimit(creators)
	for i := range g.Count {
		team.Go(func() error {
			return createAll(ctx, c, t, "object", object{
				Name: fmt.Sprintf("%s-%05d", g.Name, i), Namespace: g.Name, Secret: clientSecret, Host: g.Host, Lead: g.Lead, Interval: g.Interval,
			})
		})
	}
	return team.Wait()
}

func createAll(ctx context.Context, c client.Client, t *template.Template, name string, data any) error {
	all, err := render(t, name, data)
	if err != nil {
		return err
	}
	for _, o := range all {
		// What is shared may be there for an earlier group.
		if err := c.Create(ctx, o); err != nil && !(name == "shared" && apierrors.IsAlreadyExists(err)) {
			return fmt.Errorf("creating %s %s: %w", o.GetKind(), o.GetName(), err)
		}
	}
	return nil
}

// createForeign makes Secrets that are nobody's business.
func (p *plane) createForeign(ctx context.Context, count, size int) error {
	const namespace = "foreign"
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}
	if _, err := p.core.CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("creating a namespace: %w", err)
	}
	content := bytes.Repeat([]byte("x"), size)
	var team errgroup.Group
	team.SetLimit(creators)
	for i := range count {
		team.Go(func() error {
			s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("foreign-%05d", i), Namespace: namespace}, Data: map[string][]byte{"content": content}}
			_, err := p.core.CoreV1().Secrets(namespace).Create(ctx, s, metav1.CreateOptions{})
			return err
		})
	}
	return team.Wait()
}
