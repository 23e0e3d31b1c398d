//go:build recipes

package recipes

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// reloader restarts what reads the token by its environment. The strategy is the one
// that GitOps tools do not take for drift.
func reloader(t *testing.T, k *kitchen) string {
	s := k.newSpace(t, "reloader")
	k.preload(t, "registry.example.com/team/once:1.0", k.reader(t, k.provider, "once", "-name=once", "-env=TOKEN"))
	k.start(t, "reloader", "--reload-strategy=annotations")
	s.apply(t, k.credentials(t))
	s.apply(t, k.manifest(t, "viewer-token.yaml"))
	first := s.ready(t, "viewer-token")
	s.apply(t, k.manifest(t, "once.yaml"))
	s.rolledOut(t, "once")
	s.reads(t, first)
	generation := s.generation(t)

	// A change of the Secret's metadata only: the operator undoes it, and nobody restarts.
	s.do(t, "label", "secret", "viewer-token", "providertoken.dev/target-")
	s.await(t, `jsonpath={.metadata.labels.providertoken\.dev/target}`, "secret/viewer-token")

	second := s.refresh(t, "viewer-token")
	eventually(t, "Reloader rolls the Deployment", func() error {
		if now := s.generation(t); now == generation {
			return fmt.Errorf("its generation still is %s", now)
		}
		return nil
	})
	s.rolledOut(t, "once")
	s.reads(t, second)
	if revisions := strings.Count(s.do(t, "get", "replicasets", "-o", "name"), "\n"); revisions != 2 {
		t.Errorf("there were %d rollouts, want 2: the first and one for the refresh", revisions)
	}
	kept(t, s.get(t, "secret", "viewer-token"))
	return "Reloader rolled the Deployment once after a refresh, and the new pod's environment has the new token; the target Secret has nothing of Reloader's"
}

func (s space) generation(t *testing.T) string {
	t.Helper()
	return s.do(t, "get", "deployment", "once", "-o", "jsonpath={.metadata.generation}")
}

// reads waits until the one running pod reads the token in the Secret, and the
// provider took it.
func (s space) reads(t *testing.T, secret object) {
	t.Helper()
	want := hash(string(secret.Data["token"]))
	eventually(t, "the pod reads the token "+want, func() error {
		pod, err := s.only(t, "app=once")
		if err != nil {
			return err
		}
		out, err := try(t.Context(), "", s.kubectl, "get", "--raw", "/api/v1/namespaces/"+s.namespace+"/pods/"+pod+":8080/proxy/state")
		if err != nil {
			return err
		}
		var state struct {
			OK     int `json:"ok"`
			Tokens []struct {
				Hash string `json:"hash"`
			} `json:"tokens"`
		}
		if err := json.Unmarshal([]byte(out), &state); err != nil {
			return err
		}
		if len(state.Tokens) != 1 || state.Tokens[0].Hash != want || state.OK == 0 {
			return fmt.Errorf("it reads %v, and %d calls went well", state.Tokens, state.OK)
		}
		return nil
	})
}

// only is the one pod with that label that is not on its way out.
func (s space) only(t *testing.T, selector string) (string, error) {
	t.Helper()
	var pods struct {
		Items []struct {
			Metadata struct {
				Name     string  `json:"name"`
				Deletion *string `json:"deletionTimestamp"`
			} `json:"metadata"`
		} `json:"items"`
	}
	if err := json.Unmarshal([]byte(s.do(t, "get", "pods", "-l", selector, "-o", "json")), &pods); err != nil {
		return "", err
	}
	var names []string
	for _, pod := range pods.Items {
		if pod.Metadata.Deletion == nil {
			names = append(names, pod.Metadata.Name)
		}
	}
	if len(names) != 1 {
		return "", fmt.Errorf("the pods with %s are %v, and not one", selector, names)
	}
	return names[0], nil
}
