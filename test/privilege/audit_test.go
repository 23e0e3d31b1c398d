package privilege_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	rbacv1 "k8s.io/api/rbac/v1"
)

// request is what the API server wrote down of one (audit.k8s.io/v1).
type request struct {
	Verb       string `json:"verb"`
	RequestURI string `json:"requestURI"`
	User       user   `json:"user"`
	// As is whom the user impersonates.
	As        *user `json:"impersonatedUser"`
	ObjectRef *struct {
		APIGroup    string `json:"apiGroup"`
		Resource    string `json:"resource"`
		Subresource string `json:"subresource"`
		Namespace   string `json:"namespace"`
		Name        string `json:"name"`
	} `json:"objectRef"`
	Annotations map[string]string `json:"annotations"`
}

type user struct {
	Username string `json:"username"`
}

const decision = "authorization.k8s.io/decision"

func (r request) String() string { return r.Verb + " " + r.RequestURI }

// requestsOf reads what the operator of a namespace has asked of the API server so far.
func requestsOf(namespace string) []request {
	GinkgoHelper()
	file, err := os.Open(auditLog())
	Expect(err).NotTo(HaveOccurred())
	defer func() { _ = file.Close() }()
	var found []request
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var r request
		Expect(json.Unmarshal(lines.Bytes(), &r)).To(Succeed())
		if r.As != nil {
			r.User = *r.As
		}
		if r.User.Username == "system:serviceaccount:"+namespace+":"+account {
			found = append(found, r)
		}
	}
	Expect(lines.Err()).NotTo(HaveOccurred())
	return found
}

// right is the smallest piece of a role: one verb on one resource, or on one name of it.
type right struct {
	// role that it is written in, without its prefix.
	role                        string
	group, resource, name, verb string
}

func (r right) String() string {
	text := fmt.Sprintf("%s: %s %s", r.role, r.verb, r.resource)
	if r.group != "" {
		text += "." + r.group
	}
	if r.name != "" {
		text += " " + r.name
	}
	return text
}

// grant is a right where it holds.
type grant struct {
	right

	namespace string // of the binding; everywhere when empty
}

func (g grant) covers(r request) bool {
	o := r.ObjectRef
	if o == nil || r.Verb != g.verb || o.APIGroup != g.group || g.namespace != "" && g.namespace != o.Namespace || g.name != "" && g.name != o.Name {
		return false
	}
	resource := o.Resource
	if o.Subresource != "" {
		resource += "/" + o.Subresource
	}
	return resource == g.resource
}

// rightsOf takes rules apart.
func rightsOf(role string, rules []rbacv1.PolicyRule) []right {
	GinkgoHelper()
	var found []right
	for _, rule := range rules {
		Expect(rule.NonResourceURLs).To(BeEmpty(), role)
		names := rule.ResourceNames
		if len(names) == 0 {
			names = []string{""}
		}
		for _, group := range rule.APIGroups {
			for _, resource := range rule.Resources {
				for _, verb := range rule.Verbs {
					Expect([]string{group, resource, verb}).NotTo(ContainElement("*"), role)
					for _, name := range names {
						found = append(found, right{role: role, group: group, resource: resource, verb: verb, name: name})
					}
				}
			}
		}
	}
	return found
}

// grantsTo are the rights that an install gives to the operator of a namespace.
func (o objects) grantsTo(namespace string) []grant {
	GinkgoHelper()
	has := func(subjects []rbacv1.Subject) bool {
		return slices.Contains(subjects, rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: account})
	}
	var found []grant
	add := func(where, name string, rules []rbacv1.PolicyRule) {
		for _, r := range rightsOf(strings.TrimPrefix(name, "providertoken-"), rules) {
			found = append(found, grant{right: r, namespace: where})
		}
	}
	for _, b := range each[rbacv1.RoleBinding](o, "RoleBinding") {
		if !has(b.Subjects) {
			continue
		}
		Expect(b.RoleRef.Kind).To(Equal("Role"), b.Name)
		for _, role := range each[rbacv1.Role](o, "Role") {
			if role.Name == b.RoleRef.Name && role.Namespace == b.Namespace {
				add(b.Namespace, role.Name, role.Rules)
			}
		}
	}
	for _, b := range each[rbacv1.ClusterRoleBinding](o, "ClusterRoleBinding") {
		if !has(b.Subjects) {
			continue
		}
		for _, role := range each[rbacv1.ClusterRole](o, "ClusterRole") {
			if role.Name == b.RoleRef.Name {
				add("", role.Name, role.Rules)
			}
		}
	}
	Expect(found).NotTo(BeEmpty())
	return found
}

// ledger tells which rights were needed.
type ledger struct {
	// granted in any install.
	granted map[right]bool
	// needed are those for which there was a request that no other right allowed.
	needed map[right][]string
}

// book settles what an install granted against what its operator asked for, and
// returns what was refused.
func (l *ledger) book(install string, grants []grant, requests []request) (refused []string) {
	for _, g := range grants {
		l.granted[g.right] = true
	}
	for _, r := range requests {
		if r.Annotations[decision] != "allow" {
			refused = append(refused, r.String())
			continue
		}
		var by []right
		for _, g := range grants {
			if g.covers(r) && !slices.Contains(by, g.right) {
				by = append(by, g.right)
			}
		}
		if len(by) == 1 && !slices.Contains(l.needed[by[0]], install) {
			l.needed[by[0]] = append(l.needed[by[0]], install)
		}
	}
	return refused
}

// unused are the rights that nothing needed.
func (l *ledger) unused() []string {
	var found []string
	for r := range l.granted {
		if len(l.needed[r]) == 0 {
			found = append(found, r.String())
		}
	}
	slices.Sort(found)
	return found
}

// table of what needed which right.
func (l *ledger) table() string {
	var lines []string
	for r, installs := range l.needed {
		lines = append(lines, fmt.Sprintf("%-75s %s", r, strings.Join(installs, ", ")))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}
