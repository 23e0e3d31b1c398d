//go:build crash

package crash

import (
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const stateSuffix = "-rotation"

// plan of one kill.
type plan struct {
	step  step
	phase phase
	// skip is how many such requests pass before.
	skip  int
	delay time.Duration
}

// harness runs operators and kills them.
type harness struct {
	*site
	books   *ledger
	states  sync.Mutex
	command []string
	logs    string

	generation atomic.Int64
	mu         sync.Mutex
	armed      *plan
	process    *process
	killed     chan plan
	complaints []string
}

// kills kills the operator if that is planned for now, and tells whether it did.
func (h *harness) kills(s step, p phase, generation int64) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	a := h.armed
	if a == nil || a.step != s || a.phase != p || generation != h.generation.Load() {
		return false
	}
	if a.skip > 0 {
		a.skip--
		return false
	}
	if a.delay > 0 {
		time.Sleep(a.delay)
	}
	h.kill()
	return true
}

// kill ends the process for good. The caller holds mu.
func (h *harness) kill() {
	done := *h.armed
	h.armed = nil
	h.process.kill()
	h.generation.Add(1)
	h.killed <- done
}

// arm plans a kill.
func (h *harness) arm(p plan) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.armed = &p
	if p.step == anyTime {
		time.AfterFunc(p.delay, func() {
			h.mu.Lock()
			defer h.mu.Unlock()
			if h.armed == &p {
				h.kill()
			}
		})
	}
}

// giveUp takes a plan back that found no request; false when it was carried out meanwhile.
func (h *harness) giveUp() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	was := h.armed != nil
	h.armed = nil
	return was
}

func (h *harness) complain(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.complaints = append(h.complaints, fmt.Sprintf(format, args...))
}

// start runs another operator process.
func (h *harness) start(t *testing.T) {
	t.Helper()
	out, err := os.OpenFile(h.logs, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = out.Close() }()
	p := h.launch(t, 0, out, h.command)
	h.mu.Lock()
	h.process = p
	h.mu.Unlock()
}

// alive tells whether the operator runs.
func (h *harness) alive() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.process.alive()
}

func (h *harness) stop() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.armed = nil
	if h.process != nil {
		h.process.kill()
	}
}

// build makes the operator's program out of this repository.
func build(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "manager")
	cmd := exec.Command("go", "build", "-buildvcs=false", "-o", path, ".")
	cmd.Dir = filepath.Join("..", "..")
	cmd.Env = append(os.Environ(), "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building the operator: %v\n%s", err, out)
	}
	return path
}

// draw is the plan of the next kill.
func draw(random *rand.Rand) plan {
	steps := []step{stateCreate, intentPut, tokenPost, statePut, targetWrite, statusPatch, anyTime}
	p := plan{step: steps[random.IntN(len(steps))]}
	if p.step == anyTime {
		p.phase, p.delay = whenever, 300*time.Millisecond+time.Duration(random.Int64N(int64(1500*time.Millisecond)))
		return p
	}
	p.phase = []phase{before, between, after}[random.IntN(3)]
	if p.step != stateCreate {
		p.skip = random.IntN(4)
	}
	if random.IntN(2) == 0 {
		p.delay = time.Duration(random.Int64N(int64(4 * time.Millisecond)))
	}
	return p
}

func certificatePEM(s *httptest.Server) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
}

func quiet() *log.Logger { return log.New(io.Discard, "", 0) }
