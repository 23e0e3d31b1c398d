package process_test

import (
	"testing"

	"go.uber.org/zap/zapcore"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"github.com/providertoken/operator/internal/process"
)

func TestALogNeverShowsWhatRequestsContain(t *testing.T) {
	for asked, most := range map[zapcore.Level]int{zapcore.InfoLevel: 0, -1: 1, -6: 6, -7: 6, -127: 6} {
		log := process.Logger(zap.Options{Level: asked})
		if !log.V(most).Enabled() {
			t.Errorf("level %d: V(%d) is not written", asked, most)
		}
		if log.V(most + 1).Enabled() {
			t.Errorf("level %d: V(%d) is written", asked, most+1)
		}
	}
}
