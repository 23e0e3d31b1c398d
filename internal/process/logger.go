package process

import (
	"github.com/go-logr/logr"
	"go.uber.org/zap/zapcore"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
)

// chattiest is the highest V that is written. client-go takes the logger that it
// finds in a context for its own, and from V(7) on it writes the headers, from V(8)
// on the bodies of its requests: Secrets, that is.
const chattiest = 6

// Logger is the log of the operator: as o says, but never with what requests to the
// API server contain, whatever verbosity somebody who looks for a fault asks for.
func Logger(o zap.Options) logr.Logger {
	if limit := zapcore.Level(-chattiest); o.Level != nil && o.Level.Enabled(limit-1) {
		o.Level = limit
	}
	return zap.New(zap.UseFlagOptions(&o))
}
