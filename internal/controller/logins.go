package controller

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/providertoken/operator/internal/provider"
)

const (
	// loginWindow is the time within which a login is tried at most loginAttempts times without success.
	loginWindow   = 15 * time.Minute
	loginAttempts = 2
	// loginPause is the least time between the first refusal of a login that used
	// to work and the second try: Keycloak takes two failures in one second for an attack.
	loginPause = 30 * time.Second
	// loginFreezeMax bounds the doubling pauses between the probes of a frozen login.
	loginFreezeMax = 24 * time.Hour
	// loginRecordLife is how long a record that nobody touches is kept.
	loginRecordLife = 30 * 24 * time.Hour

	loginKeySecret   = "providertoken-login-key"
	loginRecordLabel = "providertoken.dev/login-record"
	loginRecordKey   = "record"
)

// Logins keeps the operator from locking an account. Every login with a
// credential that did not yet work in this process is written down before it is
// sent, in a ConfigMap of the operator's own namespace, so that neither a crash
// nor a recreated ProviderToken forgets a refusal. A record belongs to
// (endpoint, identity, credential) under a keyed hash and is shared by all who
// use that credential; other credentials for the same account are not affected.
type Logins struct {
	// Client reads and writes the operator's own namespace without a cache.
	Client client.Client
	// Namespace is the operator's own.
	Namespace string
	// Now is the clock.
	Now func() time.Time

	mu      sync.Mutex
	key     []byte
	entries map[string]*loginEntry
}

// loginEntry serialises the logins with one credential that is not known to work.
type loginEntry struct {
	turn chan struct{} // holds one value while nobody is logging in
	// proven is true when the credential worked in this process and was not refused since.
	proven bool
	record *loginRecord // as stored; nil before it was read
	object *corev1.ConfigMap
}

// loginRecord is what is stored of one credential.
type loginRecord struct {
	// Attempts that may have been refused since Since.
	Attempts int       `json:"attempts"`
	Since    time.Time `json:"since"`
	// Frozen is the instant before which no login is tried; zero when it may be.
	Frozen time.Time `json:"frozen"`
	// Probes is the number of refused logins since the first freeze.
	Probes int `json:"probes"`
}

// Login is the right to try one login. Exactly one of its methods must be called afterwards.
type Login struct {
	logins *Logins
	name   string
	entry  *loginEntry
	solo   bool // holds the entry's turn
}

// Begin waits for its turn, writes the attempt down where that is due, and grants
// a login; or tells until when the login is frozen. An error is the API server's:
// nothing may be sent then.
func (l *Logins) Begin(ctx context.Context, r provider.Resolved, c provider.Credentials) (*Login, time.Time, error) {
	name, err := l.name(ctx, r, c)
	if err != nil {
		return nil, time.Time{}, err
	}
	e := l.entry(name)
	if l.proven(e) {
		return &Login{logins: l, name: name, entry: e}, time.Time{}, nil
	}
	select {
	case <-e.turn:
	case <-ctx.Done():
		return nil, time.Time{}, fmt.Errorf("waiting for another login with the same credential: %w", ctx.Err())
	}
	login := &Login{logins: l, name: name, entry: e, solo: true}
	if l.proven(e) {
		return login, time.Time{}, nil
	}
	frozen, err := login.intend(ctx)
	if err != nil || !frozen.IsZero() {
		login.release()
		return nil, frozen, err
	}
	return login, time.Time{}, nil
}

// intend writes an attempt down, unless the login is frozen.
func (g *Login) intend(ctx context.Context) (frozen time.Time, err error) {
	g.entry.record = nil // read it anew: a person may have deleted it to let us try again
	if err := g.load(ctx); err != nil {
		return time.Time{}, err
	}
	now := g.logins.Now()
	rec := *g.entry.record
	if now.Before(rec.Frozen) {
		return rec.Frozen, nil
	}
	if now.Sub(rec.Since) >= loginWindow || now.Before(rec.Since) {
		rec.Attempts, rec.Since = 0, now
	}
	if rec.Attempts >= loginAttempts {
		// Sent and never recorded, more than once: count it as refused.
		return rec.Since.Add(loginWindow), nil
	}
	rec.Attempts++
	return time.Time{}, g.store(ctx, rec)
}

// Worked records that the provider accepted the credential.
func (g *Login) Worked(ctx context.Context) error {
	defer g.release()
	if g.logins.proven(g.entry) {
		return nil
	}
	if err := g.store(ctx, loginRecord{}); err != nil {
		return err
	}
	g.logins.prove(g.entry, true)
	return nil
}

// Refused records that the provider refused the credential, and returns the
// instant before which it is not tried again.
func (g *Login) Refused(ctx context.Context) (time.Time, error) {
	if !g.solo {
		select {
		case <-g.entry.turn:
			g.solo = true
		case <-ctx.Done():
			return g.logins.Now().Add(loginWindow), ctx.Err()
		}
	}
	defer g.release()
	wasProven := g.logins.proven(g.entry)
	g.logins.prove(g.entry, false)
	now := g.logins.Now()
	if err := g.load(ctx); err != nil {
		return now.Add(loginWindow), err
	}
	rec := *g.entry.record
	if now.Before(rec.Frozen) {
		return rec.Frozen, nil // another login that was under way at the same time said so already
	}
	if wasProven {
		rec = loginRecord{Attempts: 1, Since: now, Frozen: now.Add(loginPause)}
	} else {
		rec.Frozen = now.Add(min(loginWindow<<min(rec.Probes, 16), loginFreezeMax))
		rec.Probes++
	}
	return rec.Frozen, g.store(ctx, rec)
}

// Unanswered records that the login brought no verdict. When the provider
// certainly did not judge it, the attempt is taken back.
func (g *Login) Unanswered(ctx context.Context, maybeJudged bool) error {
	defer g.release()
	if maybeJudged || g.logins.proven(g.entry) || g.entry.record == nil {
		return nil
	}
	rec := *g.entry.record
	rec.Attempts = max(rec.Attempts-1, 0)
	return g.store(ctx, rec)
}

func (g *Login) release() {
	if g.solo {
		g.solo = false
		g.entry.turn <- struct{}{}
	}
}

func (l *Logins) entry(name string) *loginEntry {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.entries == nil {
		l.entries = map[string]*loginEntry{}
	}
	e := l.entries[name]
	if e == nil {
		e = &loginEntry{turn: make(chan struct{}, 1)}
		e.turn <- struct{}{}
		l.entries[name] = e
	}
	return e
}

func (l *Logins) proven(e *loginEntry) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return e.proven
}

func (l *Logins) prove(e *loginEntry, proven bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e.proven = proven
}

// load reads the stored record, once; the holder of the turn owns the entry.
func (g *Login) load(ctx context.Context) error {
	if g.entry.record != nil {
		return nil
	}
	var cm corev1.ConfigMap
	err := g.logins.Client.Get(ctx, client.ObjectKey{Namespace: g.logins.Namespace, Name: g.name}, &cm)
	if apierrors.IsNotFound(err) {
		g.entry.record, g.entry.object = &loginRecord{}, nil
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading login record %s/%s: %w", g.logins.Namespace, g.name, err)
	}
	rec := &loginRecord{}
	if err := json.Unmarshal([]byte(cm.Data[loginRecordKey]), rec); err != nil {
		// Somebody edited it. What it said is unknown, so be careful once.
		rec = &loginRecord{Attempts: loginAttempts - 1, Since: g.logins.Now()}
	}
	g.entry.record, g.entry.object = rec, &cm
	return nil
}

// store writes the record, and keeps it in memory only if that worked.
func (g *Login) store(ctx context.Context, rec loginRecord) error {
	data, err := json.Marshal(rec)
	if err != nil {
		return err
	}
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{
		Namespace: g.logins.Namespace, Name: g.name,
		Labels: map[string]string{loginRecordLabel: "true", "app.kubernetes.io/part-of": "providertoken"},
	}}
	if g.entry.object != nil {
		cm = g.entry.object.DeepCopy()
	}
	cm.Data = map[string]string{loginRecordKey: string(data)}
	write := g.logins.Client.Update
	if g.entry.object == nil {
		write = func(ctx context.Context, o client.Object, _ ...client.UpdateOption) error {
			return g.logins.Client.Create(ctx, o)
		}
	}
	if err := write(ctx, cm); err != nil {
		g.entry.record, g.entry.object = nil, nil // read it again next time
		return fmt.Errorf("writing login record %s/%s: %w", g.logins.Namespace, g.name, err)
	}
	g.entry.record, g.entry.object = &rec, cm
	return nil
}

// name is that of the record for a credential: a keyed hash, so that neither
// identity nor password can be guessed from it.
func (l *Logins) name(ctx context.Context, r provider.Resolved, c provider.Credentials) (string, error) {
	key, err := l.loadKey(ctx)
	if err != nil {
		return "", err
	}
	mac := hmac.New(sha256.New, key)
	for _, part := range []string{"v1", r.TokenURL, r.Identity(c), c[provider.CredPassword].Reveal(), c[provider.CredClientSecret].Reveal()} {
		mac.Write([]byte(strconv.Itoa(len(part)) + " " + part))
	}
	return "login-" + hex.EncodeToString(mac.Sum(nil)[:20]), nil
}

// loadKey reads the operator's own key, and makes it when there is none. When it
// is lost, past refusals are forgotten: each credential then has its attempts anew.
func (l *Logins) loadKey(ctx context.Context) ([]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.key != nil {
		return l.key, nil
	}
	name := client.ObjectKey{Namespace: l.Namespace, Name: loginKeySecret}
	for range 2 {
		var s corev1.Secret
		err := l.Client.Get(ctx, name, &s)
		if err == nil && len(s.Data["key"]) >= sha256.Size {
			l.key = s.Data["key"]
			return l.key, nil
		}
		if err == nil {
			return nil, fmt.Errorf("the Secret %s has no usable key; delete it, and the operator makes a new one", name)
		}
		if !apierrors.IsNotFound(err) {
			return nil, fmt.Errorf("reading the operator's key %s: %w", name, err)
		}
		key := make([]byte, sha256.Size)
		if _, err := rand.Read(key); err != nil {
			return nil, err
		}
		s = corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: l.Namespace, Name: loginKeySecret,
				Labels: map[string]string{"app.kubernetes.io/part-of": "providertoken"},
			},
			Data: map[string][]byte{"key": key},
		}
		if err := l.Client.Create(ctx, &s); err == nil {
			l.key = key
			return l.key, nil
		} else if !apierrors.IsAlreadyExists(err) {
			return nil, fmt.Errorf("making the operator's key %s: %w", name, err)
		}
	}
	return nil, fmt.Errorf("the operator's key %s comes and goes; find out who deletes it", name)
}

// Sweep deletes records that nobody touched for a month. Those of frozen logins
// are touched by every probe.
func (l *Logins) Sweep(ctx context.Context) error {
	var list corev1.ConfigMapList
	err := l.Client.List(ctx, &list, client.InNamespace(l.Namespace), client.HasLabels{loginRecordLabel})
	if err != nil {
		return fmt.Errorf("listing login records: %w", err)
	}
	for i := range list.Items {
		cm := &list.Items[i]
		if l.Now().Sub(touched(cm)) < loginRecordLife {
			continue
		}
		err := l.Client.Delete(ctx, cm, client.Preconditions{ResourceVersion: &cm.ResourceVersion})
		if err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("deleting login record %s: %w", cm.Name, err)
		}
	}
	return nil
}

// touched is when a record was last written.
func touched(cm *corev1.ConfigMap) time.Time {
	at := cm.CreationTimestamp.Time
	for _, f := range cm.ManagedFields {
		if f.Time != nil && f.Time.After(at) {
			at = f.Time.Time
		}
	}
	return at
}
