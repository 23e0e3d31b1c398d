// Command scaling computes what fleets of tokens cost, from what one refresh costs.
//
//	go run ./hack/scaling docs/benchmarks/costs.json
//
// prints the tables of docs/scaling.md; a test compares them, and with -update writes them.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
)

func main() {
	if len(os.Args) != 2 || strings.HasPrefix(os.Args[1], "-") {
		fmt.Fprintln(os.Stderr, "usage: go run ./hack/scaling FILE\nFILE holds what was measured, such as docs/benchmarks/costs.json")
		os.Exit(2)
	}
	c, err := read(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, "hack/scaling:", err)
		os.Exit(1)
	}
	fmt.Print(render(c))
}

// costs are what was measured.
type costs struct {
	// Machine and Source say where the figures are from.
	Machine string `json:"machine"`
	Source  string `json:"source"`
	// Refresh is a steady one.
	Refresh struct {
		APIRequests        float64 `json:"apiRequests"`
		EtcdWrites         float64 `json:"etcdWrites"`
		OperatorCPUMillis  float64 `json:"operatorCPUMillis"`
		APIServerCPUMillis float64 `json:"apiServerCPUMillis"`
		EtcdCPUMillis      float64 `json:"etcdCPUMillis"`
	} `json:"refresh"`
	// FirstToken of an object.
	FirstToken struct {
		APIRequests float64 `json:"apiRequests"`
	} `json:"firstToken"`
	// Operator is the memory of a leader, and of a standby, whose caches are the same.
	Operator struct {
		FixedMiB           float64 `json:"fixedMiB"`
		BytesPerToken      float64 `json:"bytesPerToken"`
		BytesPerCredential float64 `json:"bytesPerCredential"`
	} `json:"operator"`
	// Objects as etcd stores them. The target holds the token TokenCopies times.
	Objects struct {
		TargetBytesBesideTokens float64 `json:"targetBytesBesideTokens"`
		TokenCopies             float64 `json:"tokenCopies"`
		ProviderTokenBytes      float64 `json:"providerTokenBytes"`
		CredentialBytes         float64 `json:"credentialBytes"`
	} `json:"objects"`
}

// read reads costs from a file, which must say all of them and nothing else.
func read(file string) (costs, error) {
	var c costs
	data, err := os.ReadFile(file)
	if err != nil {
		return c, fmt.Errorf("reading the costs: %w", err)
	}
	decoder := json.NewDecoder(strings.NewReader(string(data)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&c); err != nil {
		return c, fmt.Errorf("reading the costs in %s: %w", file, err)
	}
	for name, v := range map[string]float64{
		"refresh.apiRequests": c.Refresh.APIRequests, "refresh.etcdWrites": c.Refresh.EtcdWrites,
		"refresh.operatorCPUMillis": c.Refresh.OperatorCPUMillis, "refresh.apiServerCPUMillis": c.Refresh.APIServerCPUMillis,
		"refresh.etcdCPUMillis": c.Refresh.EtcdCPUMillis, "firstToken.apiRequests": c.FirstToken.APIRequests,
		"operator.fixedMiB": c.Operator.FixedMiB, "operator.bytesPerToken": c.Operator.BytesPerToken, "operator.bytesPerCredential": c.Operator.BytesPerCredential,
		"objects.targetBytesBesideTokens": c.Objects.TargetBytesBesideTokens, "objects.tokenCopies": c.Objects.TokenCopies,
		"objects.providerTokenBytes": c.Objects.ProviderTokenBytes, "objects.credentialBytes": c.Objects.CredentialBytes,
	} {
		if v <= 0 {
			return c, fmt.Errorf("%s says nothing, or nothing sensible, about %s", file, name)
		}
	}
	return c, nil
}
