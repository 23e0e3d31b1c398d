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
	"strings"
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
	// loginSlack is what a token must outlive a freeze by for nobody to mind the freeze.
	loginSlack = 5 * time.Minute
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
// nor a recreated ProviderToken forgets a refusal. So is one with a credential that
// worked, if the token at hand would not outlive a freeze: then the next process knows
// whether there was one that it cannot tell the outcome of. A record belongs to
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
	// Issued is when the token in a target was issued, and false when that is not known;
	// nil when nothing is known of targets.
	Issued func(ctx context.Context, target types.NamespacedName) (time.Time, bool)

	once sync.Once
	self string // this process, among those that use the same records

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
	// used is when somebody entered last.
	used time.Time
	// proven is true when the credential worked in this process and was not refused since.
	proven bool
	// untracked is true when logins of this process are not written down, which the record says.
	untracked bool
	record    *lockout.Record // as stored; nil when that is not known
	object    *corev1.ConfigMap
}

// Use is what a login is for.
type Use struct {
	// User is the ProviderToken that wants it; the record names it, so that a person finds it.
	User types.NamespacedName
	// Target is where the token goes.
	Target types.NamespacedName
	// Held and Expires are when the token in there was issued and when it expires; zero
	// when there is none that works.
	Held, Expires time.Time
}

// urgent tells that the token at hand would not outlive a freeze.
func (u Use) urgent(now time.Time) bool { return u.Expires.Sub(now) < lockout.Window+loginSlack }

// Login is the right to try one login. Exactly one of its methods must be called afterwards.
type Login struct {
	logins *Logins
	name   string
	entry  *loginEntry
	use    Use
	// before is the record without this login.
	before lockout.Record
	// intended is when this login was written down; zero when it was not.
	intended time.Time
	ended    bool
}

// Begin waits for its turn, writes the attempt down where that is due, and grants
// a login; or tells until when the login is frozen. An error is the API server's:
// nothing may be sent then.
func (l *Logins) Begin(ctx context.Context, r provider.Resolved, c provider.Credentials, use Use) (*Login, lockout.Freeze, error) {
	name, err := l.name(ctx, r, c)
	if err != nil {
		return nil, lockout.Freeze{}, err
	}
	login := &Login{logins: l, name: name, use: use, entry: l.enter(name)}
	select {
	case <-login.entry.turn:
	case <-ctx.Done():
		l.leave(name, login.entry)
		return nil, lockout.Freeze{}, fmt.Errorf("waiting for another login with the same credential: %w", ctx.Err())
	}
	var frozen lockout.Freeze
	for range loginRounds {
		if frozen, err = login.prepare(ctx); err == nil && login.late() {
			err = login.store(ctx, login.before)
			frozen = lockout.Freeze{Until: l.Now().Add(lockout.Apart), Problem: "the API server took too long to write down this login before it is tried", Fix: lockout.FixWait}
			continue
		}
		if !overtaken(err) {
			break
		}
	}
	if err != nil || !frozen.Until.IsZero() {
		login.release()
		return nil, frozen, err
	}
	return login, lockout.Freeze{}, nil
}

// prepare writes an attempt down where that is due, unless the login is frozen.
func (g *Login) prepare(ctx context.Context) (lockout.Freeze, error) {
	g.intended = time.Time{}
	known, err := g.stillProven(ctx)
	if err != nil {
		return lockout.Freeze{}, err
	}
	if known {
		return lockout.Freeze{}, g.track(ctx)
	}
	return g.intend(ctx)
}

// stillProven tells whether the credential is known to work. Where others use the same
// records, one of them may have learnt that it does not, or have ended before it could.
func (g *Login) stillProven(ctx context.Context) (bool, error) {
	e := g.entry
	if !e.proven || !g.logins.Shared && (e.record != nil || e.untracked && !g.use.urgent(g.logins.Now())) {
		return e.proven, nil
	}
	if err := g.reload(ctx); err != nil {
		return false, err
	}
	g.entry.proven = g.entry.record.Worked && len(g.unknown(ctx, g.logins.process())) == 0
	return g.entry.proven, nil
}

// track writes a login down whose credential is known to work: the login itself where its
// outcome matters if this process ends, and else that there are such as are not written down.
func (g *Login) track(ctx context.Context) error {
	now, e := g.logins.Now(), g.entry
	if !g.use.urgent(now) {
		if e.untracked {
			return nil
		}
		rec := *e.record
		rec.Tracked, rec.Sent = false, nil
		err := g.store(ctx, rec)
		e.untracked = err == nil
		return err
	}
	rec := *e.record
	g.before, g.intended = rec, now
	// This process knows what became of its own.
	rec.Tracked = rec.Tracked || !g.logins.Shared
	rec.Sent = []lockout.Sent{{At: now, By: g.logins.process(), Target: g.use.Target.String(), Held: g.use.Held}}
	e.untracked = false
	return g.store(ctx, rec)
}

// unknown are the instants of logins with a credential that worked of which nobody knows
// what became; not of those by the process that except names.
func (g *Login) unknown(ctx context.Context, except string) []time.Time {
	var found []time.Time
	for _, s := range g.entry.record.At(g.logins.Now()).Sent {
		if s.By != except && !g.logins.cameOf(ctx, s) {
			found = append(found, s.At)
		}
	}
	return found
}

// cameOf tells that a login led to a token: the target holds one that was issued since.
func (l *Logins) cameOf(ctx context.Context, s lockout.Sent) bool {
	namespace, name, named := strings.Cut(s.Target, "/")
	if l.Issued == nil || !named {
		return false
	}
	issued, known := l.Issued(ctx, types.NamespacedName{Namespace: namespace, Name: name})
	return known && !issued.Equal(s.Held) && !issued.Before(s.At.Truncate(time.Second))
}

// process names this one.
func (l *Logins) process() string {
	l.once.Do(func() { l.self = rand.Text()[:8] })
	return l.self
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
	if g.entry.object == nil && now.Before(g.logins.quietUntil()) {
		return lockout.Freeze{Until: g.logins.quietUntil(), Problem: "the operator's key and with it its knowledge of refused logins was lost, and this login may have been refused shortly before", Fix: lockout.FixWait}, nil
	}
	rec := g.entry.record.At(now)
	reckoned := rec.Reckoned(g.unknown(ctx, ""), now)
	if frozen := reckoned.Freeze(now); !frozen.Until.IsZero() {
		if g.logins.Shared && reckoned.UnderWay(now) {
			return lockout.Freeze{Until: now.Add(lockout.Apart), Problem: "another login with the same username and password is under way", Fix: lockout.FixWait}, nil
		}
		if rec.Shifted(*g.entry.record) || g.unnamed() {
			return frozen, g.store(ctx, rec)
		}
		return frozen, nil
	}
	g.before, g.intended = rec, now
	if rec.Worked && !rec.Tracked {
		reckoned.Tries = append(reckoned.Tries, now)
	}
	reckoned.Tries = append(reckoned.Tries, now)
	return lockout.Freeze{}, g.store(ctx, reckoned)
}

// unnamed tells whether the record has room for another user, and does not name this one.
func (g *Login) unnamed() bool {
	if g.entry.object == nil {
		return false
	}
	users := lockout.Users(g.entry.object.Annotations[lockout.UsersAnnotation])
	return len(users) < lockout.UsersMax && !slices.Contains(users, g.use.User.String())
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
	if err := g.store(ctx, lockout.Record{Worked: true, Tracked: true}); err != nil {
		return err
	}
	g.entry.proven, g.entry.untracked = true, false
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
	if !g.before.Worked || g.before.Tracked {
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
	if g.entry.proven && g.entry.untracked {
		// As long as it works nobody needs the record: who is refused reads it again.
		g.entry.record, g.entry.object = nil, nil
	}
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
	e.used = l.Now()
	return e
}

// prune forgets that credentials worked which nobody used for as long as their record is kept.
func (l *Logins) prune() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for name, e := range l.entries {
		if e.users == 0 && l.Now().Sub(e.used) >= loginRecordLife {
			delete(l.entries, name)
		}
	}
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
	cm.ManagedFields = nil // nobody here needs them, and a write without leaves them as they are
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
	cm.Annotations[lockout.UsersAnnotation] = lockout.WithUser(cm.Annotations[lockout.UsersAnnotation], g.use.User.String())
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
	cm.ManagedFields = nil
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
// are touched by every probe. It forgets credentials that nobody used for as long.
func (l *Logins) Sweep(ctx context.Context) error {
	l.prune()
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
