package controller

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/providertoken/operator/internal/lockout"
	"github.com/providertoken/operator/internal/provider"
)

const (
	// loginRecordLife is how long a record that nobody touches is kept.
	loginRecordLife = 30 * 24 * time.Hour
	// loginRounds is how often a record is looked at again that somebody else wrote meanwhile.
	loginRounds = 4

	loginKeySecret = "providertoken-login-key"
	loginKeyKey    = "key"
	// loginQuietAnnotation of the key Secret is the instant before which no login is
	// tried that has no record: records that were made with a lost key may be about it.
	loginQuietAnnotation = "providertoken.dev/quiet-until"
)

// Logins keeps the operator from locking an account. Every login with a
// credential that did not yet work in this process is written down before it is
// sent, in a ConfigMap of the operator's own namespace, so that neither a crash
// nor a recreated ProviderToken forgets a refusal. A record belongs to
// (account, credential) under a keyed hash and is shared by all who
// use that credential; other credentials for the same account are not affected.
// Of the logins with one credential, one is under way at a time: a password that was
// changed at the provider is refused once, and not once for everybody who uses it.
type Logins struct {
	// Client reads and writes the operator's own namespace without a cache.
	Client client.Client
	// Namespace is the operator's own.
	Namespace string
	// Now is the clock.
	Now func() time.Time
	// Shared is true where other processes use the same records at the same time.
	Shared bool

	mu      sync.Mutex
	key     []byte
	quiet   time.Time
	entries map[string]*loginEntry
}

// loginEntry serialises the logins with one credential.
type loginEntry struct {
	turn chan struct{} // holds one value while nobody is logging in
	// users hold or wait for the turn.
	users int
	// proven is true when the credential worked in this process and was not refused since.
	proven bool
	record *lockout.Record // as stored; nil when that is not known
	object *corev1.ConfigMap
}

// Login is the right to try one login. Exactly one of its methods must be called afterwards.
type Login struct {
	logins *Logins
	name   string
	entry  *loginEntry
	// user is the ProviderToken that wants it.
	user types.NamespacedName
	// before is the record without this login.
	before lockout.Record
	// intended is when this login was written down; zero when it was not.
	intended time.Time
	ended    bool
}

// Begin waits for its turn, writes the attempt down where that is due, and grants
// a login; or tells until when the login is frozen. An error is the API server's:
// nothing may be sent then. The record names user, so that a person finds it.
func (l *Logins) Begin(ctx context.Context, user types.NamespacedName, r provider.Resolved, c provider.Credentials) (*Login, lockout.Freeze, error) {
	name, err := l.name(ctx, r, c)
	if err != nil {
		return nil, lockout.Freeze{}, err
	}
	login := &Login{logins: l, name: name, user: user, entry: l.enter(name)}
	select {
	case <-login.entry.turn:
	case <-ctx.Done():
		l.leave(name, login.entry)
		return nil, lockout.Freeze{}, fmt.Errorf("waiting for another login with the same credential: %w", ctx.Err())
	}
	known, err := login.stillProven(ctx)
	if known {
		return login, lockout.Freeze{}, nil
	}
	var frozen lockout.Freeze
	for range loginRounds {
		if err != nil {
			break
		}
		if frozen, err = login.intend(ctx); err == nil && login.late() {
			err = login.store(ctx, login.before)
			frozen = lockout.Freeze{Until: l.Now().Add(lockout.Apart), Problem: "the API server took too long to write down this login before it is tried", Fix: lockout.FixWait}
			continue
		}
		if !overtaken(err) {
			break
		}
		err = nil
	}
	if err != nil || !frozen.Until.IsZero() {
		login.release()
		return nil, frozen, err
	}
	return login, lockout.Freeze{}, nil
}

// stillProven tells whether the credential is known to work. Where others use the same
// records, one of them may have learnt that it does not.
func (g *Login) stillProven(ctx context.Context) (bool, error) {
	if !g.entry.proven || !g.logins.Shared {
		return g.entry.proven, nil
	}
	if err := g.reload(ctx); err != nil {
		return false, err
	}
	g.entry.proven = g.entry.record.Worked
	return g.entry.proven, nil
}

// intend writes an attempt down, unless the login is frozen.
func (g *Login) intend(ctx context.Context) (lockout.Freeze, error) {
	if err := g.logins.keepKey(ctx); err != nil {
		return lockout.Freeze{}, err
	}
	// Read it anew: a person may have deleted it to let us try again.
	if err := g.reload(ctx); err != nil {
		return lockout.Freeze{}, err
	}
	now := g.logins.Now()
	g.intended = time.Time{}
	rec := g.entry.record.At(now)
	if g.entry.object == nil && now.Before(g.logins.quietUntil()) {
		return lockout.Freeze{Until: g.logins.quietUntil(), Problem: "the operator's key and with it its knowledge of refused logins was lost, and this login may have been refused shortly before", Fix: lockout.FixWait}, nil
	}
	if frozen := rec.Freeze(now); !frozen.Until.IsZero() {
		if g.logins.Shared && rec.UnderWay(now) {
			return lockout.Freeze{Until: now.Add(lockout.Apart), Problem: "another login with the same username and password is under way", Fix: lockout.FixWait}, nil
		}
		if rec.Shifted(*g.entry.record) || g.unnamed() {
			return frozen, g.store(ctx, rec)
		}
		return frozen, nil
	}
	g.before, g.intended = rec, now
	if rec.Worked {
		rec.Tries, rec.Worked = append(rec.Tries, now), false
	}
	rec.Tries = append(rec.Tries, now)
	return lockout.Freeze{}, g.store(ctx, rec)
}

// unnamed tells whether the record has room for another user, and does not name this one.
func (g *Login) unnamed() bool {
	if g.entry.object == nil {
		return false
	}
	users := lockout.Users(g.entry.object.Annotations[lockout.UsersAnnotation])
	return len(users) < lockout.UsersMax && !slices.Contains(users, g.user.String())
}

// late tells that the attempt was written down so long ago that, sent now, it would
// count for less than it is: the API server was slow, or the process was suspended.
func (g *Login) late() bool {
	return !g.intended.IsZero() && g.logins.Now().Sub(g.intended) >= lockout.Apart/2
}

// Worked records that the provider accepted the credential.
func (g *Login) Worked(ctx context.Context) error {
	defer g.release()
	if g.entry.proven {
		return nil
	}
	if err := g.store(ctx, lockout.Record{Worked: true}); err != nil {
		return err
	}
	g.entry.proven = true
	return nil
}

// Refused records that the provider refused the credential, and returns the
// instant before which it is not tried again.
func (g *Login) Refused(ctx context.Context) (time.Time, error) {
	defer g.release()
	wasProven := g.entry.proven
	g.entry.proven = false
	for range loginRounds {
		now := g.logins.Now()
		if err := g.load(ctx); err != nil {
			return now.Add(lockout.Window), err
		}
		rec := g.entry.record.Refused(now, wasProven)
		err := g.store(ctx, rec)
		if !overtaken(err) {
			return rec.Frozen, err
		}
	}
	return g.logins.Now().Add(lockout.Window), fmt.Errorf("login record %s/%s changes all the time", g.logins.Namespace, g.name)
}

// Unanswered records that the login brought no verdict. When the provider
// certainly did not judge it, the attempt is taken back.
func (g *Login) Unanswered(ctx context.Context, maybeJudged bool) error {
	defer g.release()
	if g.entry.proven || g.entry.record == nil {
		return nil
	}
	if !maybeJudged {
		return g.store(ctx, g.before)
	}
	if !g.before.Worked {
		return nil
	}
	// This process is alive to tell that it was one login, of a credential that worked.
	return g.store(ctx, lockout.Record{Tries: g.entry.record.Tries[:1]})
}

// Abandon ends a login that nothing else ended, as after a bug: it may have been
// judged, and nobody waits for it for ever.
func (g *Login) Abandon() {
	if !g.ended {
		g.entry.proven = false
		g.release()
	}
}

func (g *Login) release() {
	g.ended = true
	g.entry.turn <- struct{}{}
	g.logins.leave(g.name, g.entry)
}

// enter returns the entry of that name, for one who is going to wait for its turn.
func (l *Logins) enter(name string) *loginEntry {
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
	e.users++
	return e
}

// leave forgets an entry that nobody uses and that knows nothing.
func (l *Logins) leave(name string, e *loginEntry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e.users--
	if e.users == 0 && !e.proven {
		delete(l.entries, name)
	}
}

// reload reads the stored record.
func (g *Login) reload(ctx context.Context) error {
	g.entry.record = nil
	return g.load(ctx)
}

// load reads the stored record unless it is known; the holder of the turn owns the entry.
func (g *Login) load(ctx context.Context) error {
	if g.entry.record != nil {
		return nil
	}
	var cm corev1.ConfigMap
	err := g.logins.Client.Get(ctx, client.ObjectKey{Namespace: g.logins.Namespace, Name: g.name}, &cm)
	if apierrors.IsNotFound(err) {
		g.entry.record, g.entry.object = &lockout.Record{}, nil
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading login record %s/%s: %w", g.logins.Namespace, g.name, err)
	}
	rec := &lockout.Record{}
	if err := json.Unmarshal([]byte(cm.Data[lockout.Key]), rec); err != nil {
		// Somebody edited it. What it said is unknown, so be careful once.
		rec = &lockout.Record{Tries: []time.Time{g.logins.Now().Add(-lockout.Apart)}}
	}
	g.entry.record, g.entry.object = rec, &cm
	return nil
}

// overtaken tells that somebody else wrote or deleted the record meanwhile.
func overtaken(err error) bool {
	return apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) || apierrors.IsNotFound(err)
}

// store writes the record, and keeps it in memory only if that worked.
func (g *Login) store(ctx context.Context, rec lockout.Record) error {
	data, err := json.Marshal(rec)
	if err != nil {
		return err
	}
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{
		Namespace: g.logins.Namespace, Name: g.name,
		Labels: map[string]string{lockout.Label: "true", "app.kubernetes.io/part-of": "providertoken"},
	}}
	if g.entry.object != nil {
		cm = g.entry.object.DeepCopy()
	}
	if cm.Annotations == nil {
		cm.Annotations = map[string]string{}
	}
	cm.Annotations[lockout.UsersAnnotation] = lockout.WithUser(cm.Annotations[lockout.UsersAnnotation], g.user.String())
	cm.Data = map[string]string{lockout.Key: string(data)}
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
// identity nor password can be guessed from it. Only what is sent counts: a secret
// beside it that a public client does not use makes no other credential of it.
func (l *Logins) name(ctx context.Context, r provider.Resolved, c provider.Credentials) (string, error) {
	key, err := l.loadKey(ctx)
	if err != nil {
		return "", err
	}
	parts := []string{"v2", r.Account(c), c[provider.CredPassword].Reveal()}
	if r.ProvesClient() {
		parts = append(parts, c[provider.CredClientSecret].Reveal())
	}
	mac := hmac.New(sha256.New, key)
	for _, part := range parts {
		mac.Write([]byte(strconv.Itoa(len(part)) + " " + part))
	}
	return "login-" + hex.EncodeToString(mac.Sum(nil)[:20]), nil
}

// loadKey reads the operator's own key, and makes it when there is none. When it
// is lost, the records that are still there can be told to nobody's login any more: then no
// login without a record is tried before those that were refused last are a quarter of
// an hour old.
func (l *Logins) loadKey(ctx context.Context) ([]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.key != nil {
		return l.key, nil
	}
	for range 2 {
		key, err := l.readKey(ctx)
		if key != nil || err != nil {
			return key, err
		}
		quiet, err := l.refusedLast(ctx)
		if err != nil {
			return nil, err
		}
		fresh := make([]byte, sha256.Size)
		if _, err := rand.Read(fresh); err != nil {
			return nil, err
		}
		if err := l.createKey(ctx, fresh, quiet); err == nil {
			l.key, l.quiet = fresh, quiet
			return l.key, nil
		} else if !apierrors.IsAlreadyExists(err) {
			return nil, fmt.Errorf("making the operator's key %s/%s: %w", l.Namespace, loginKeySecret, err)
		}
	}
	return nil, fmt.Errorf("the operator's key %s/%s comes and goes; find out who deletes it", l.Namespace, loginKeySecret)
}

// readKey returns the stored key; nil without an error when there is none.
func (l *Logins) readKey(ctx context.Context) ([]byte, error) {
	name := client.ObjectKey{Namespace: l.Namespace, Name: loginKeySecret}
	var s corev1.Secret
	err := l.Client.Get(ctx, name, &s)
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("reading the operator's key %s: %w", name, err)
	case len(s.Data[loginKeyKey]) < sha256.Size:
		return nil, fmt.Errorf("the Secret %s %w", name, errKeyUnusable)
	}
	l.key = s.Data[loginKeyKey]
	if quiet, err := time.Parse(time.RFC3339, s.Annotations[loginQuietAnnotation]); err == nil {
		l.quiet = quiet
	}
	return l.key, nil
}

var (
	errKeyUnusable = errors.New("has no usable key; delete it, and the operator puts it back or makes a new one")
	errKeyReplaced = errors.New("somebody replaced the operator's key; what is recorded is looked at anew")
)

func (l *Logins) createKey(ctx context.Context, key []byte, quiet time.Time) error {
	s := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: l.Namespace, Name: loginKeySecret,
			Labels: map[string]string{"app.kubernetes.io/part-of": "providertoken"},
		},
		Data: map[string][]byte{loginKeyKey: key},
	}
	if !quiet.IsZero() {
		s.Annotations = map[string]string{loginQuietAnnotation: quiet.UTC().Format(time.RFC3339)}
	}
	return l.Client.Create(ctx, s)
}

// refusedLast is when the last refusal that a record tells of is over; zero when it is
// already, or when there are no records.
func (l *Logins) refusedLast(ctx context.Context) (time.Time, error) {
	list, err := l.records(ctx)
	if err != nil {
		return time.Time{}, err
	}
	now := l.Now()
	var over time.Time
	for i := range list {
		var rec lockout.Record
		if err := json.Unmarshal([]byte(list[i].Data[lockout.Key]), &rec); err != nil {
			continue
		}
		for _, t := range rec.At(now).Tries {
			if end := t.Add(lockout.Window); end.After(over) {
				over = end.Truncate(time.Second).Add(time.Second)
			}
		}
	}
	return over, nil
}

// quietUntil is when logins without a record may be tried.
func (l *Logins) quietUntil() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.quiet
}

// keepKey puts the key back that this process knows, where somebody deleted it: the
// next process would know of no refusal without it.
func (l *Logins) keepKey(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.key == nil {
		return nil
	}
	known := l.key
	stored, err := l.readKey(ctx)
	if err != nil {
		l.key = known
		return err
	}
	if stored == nil {
		if err := l.createKey(ctx, known, l.quiet); err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("putting the operator's key %s/%s back: %w", l.Namespace, loginKeySecret, err)
		}
		return nil
	}
	if bytes.Equal(stored, known) {
		return nil
	}
	quiet, err := l.refusedLast(ctx)
	if err != nil {
		l.key = known // and look again
		return err
	}
	if quiet.After(l.quiet) {
		l.quiet = quiet
	}
	return errKeyReplaced
}

// Sweep deletes records that nobody touched for a month. Those of frozen logins
// are touched by every probe.
func (l *Logins) Sweep(ctx context.Context) error {
	list, err := l.records(ctx)
	if err != nil {
		return err
	}
	for i := range list {
		cm := &list[i]
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

func (l *Logins) records(ctx context.Context) ([]corev1.ConfigMap, error) {
	var list corev1.ConfigMapList
	err := l.Client.List(ctx, &list, client.InNamespace(l.Namespace), client.HasLabels{lockout.Label})
	if err != nil {
		return nil, fmt.Errorf("listing login records: %w", err)
	}
	return list.Items, nil
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
