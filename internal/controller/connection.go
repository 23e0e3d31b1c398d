package controller

import "k8s.io/client-go/rest"

// Connection is cfg as the operator uses it: without a limit of its own, since the
// API server's priority and fairness knows better, and deaf to warnings. What the
// API server says besides its answer may quote the object that was written, where an
// admission policy or webhook wants it so, and would be logged.
func Connection(cfg *rest.Config) *rest.Config {
	c := rest.CopyConfig(cfg)
	c.QPS = -1
	c.WarningHandler = rest.NoWarnings{}
	return c
}
