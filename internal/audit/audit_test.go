package audit

import (
	"bytes"
	"errors"
	"sync"
	"testing"
	"time"
)

func TestAnEntryIsOneLine(t *testing.T) {
	var out bytes.Buffer
	expires := time.Unix(1_800_000_300, 0).UTC()
	New(&out, nil).Write(Entry{
		Time:        time.Unix(1_800_000_000, 0).In(time.FixedZone("", 3600)),
		Object:      Object{Namespace: "ns", Name: "n\nn", UID: "u"},
		Credentials: []Secret{{Namespace: "ns", Name: "login", ResourceVersion: "12"}},
		Provider:    "UP42", Host: "h:443", Grant: "Password", Scopes: []string{"a&b"}, Outcome: Success, Status: 200, ExpiresAt: &expires, Seconds: .25,
	})
	New(&out, nil).Write(Entry{Outcome: Failure, Failure: "Unavailable"})
	want := `{"log":"audit","time":"2027-01-15T08:00:00Z","object":{"namespace":"ns","name":"n\nn","uid":"u"},"credentials":[{"namespace":"ns","name":"login","resourceVersion":"12"}],` +
		`"provider":"UP42","host":"h:443","grant":"Password","scopes":["a&b"],"outcome":"success","status":200,"expiresAt":"2027-01-15T08:05:00Z","durationSeconds":0.25}` + "\n" +
		`{"log":"audit","time":"0001-01-01T00:00:00Z","object":{"namespace":"","name":"","uid":""},"credentials":[],"provider":"","host":"","grant":"","outcome":"failure","failure":"Unavailable","durationSeconds":0}` + "\n"
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}

func TestALogThatNobodyWantsIsSilent(_ *testing.T) {
	var none *Log
	none.Write(Entry{})
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestALineThatCannotBeWrittenIsTold(t *testing.T) {
	var told error
	New(broken{}, func(err error) { told = err }).Write(Entry{})
	if told == nil {
		t.Error("nobody was told")
	}
}

func TestLinesDoNotMix(t *testing.T) {
	var out bytes.Buffer
	l := New(&out, nil)
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() { l.Write(Entry{Outcome: Success}) })
	}
	all.Wait()
	lines := bytes.Split(bytes.TrimSpace(out.Bytes()), []byte("\n"))
	for _, line := range lines {
		if !bytes.Equal(line, lines[0]) {
			t.Fatalf("%s", line)
		}
	}
	if len(lines) != 50 {
		t.Errorf("%d lines", len(lines))
	}
}
