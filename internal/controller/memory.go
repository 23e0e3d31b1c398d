package controller

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/target"
	"github.com/providertoken/operator/internal/token"
)

// minted is a token that waits to be published, with what it was asked for.
type minted struct {
	token   token.Token
	inputs  string
	request string
	// replaces is when the token was issued that was at hand when this one was asked
	// for; zero when there was none.
	replaces time.Time
	// unstored is set while the refresh token that came with it is in memory only.
	unstored *unstored
}

// published is what the operator last wrote to, or recognised in, the target.
type published struct {
	resourceVersion string
	content         target.Content
}

// reported is a status that was written and that the cache may not show yet.
type reported struct {
	resourceVersion string
	status          v1alpha1.ProviderTokenStatus
}

// session is a refresh token and what it came with. It lives in memory only:
// the primary credentials work unattended, so its loss costs one login.
type session struct {
	refresh token.Secret
	expires time.Time // zero when not stated
	basis   string    // endpoint and credentials that opened it
}

// recollection is what is remembered of one ProviderToken between reconciles.
type recollection struct {
	published *published
	minted    *minted
	failure   *failure
	session   *session
	// attempt waits for its turn at the provider.
	attempt *attempt
	// verdicts counts the attempts that ended.
	verdicts uint64
	// basis of the last attempt.
	basis string
	// reported is the status last written, until the cache shows it.
	reported *reported
	// undelivered is true when a token expired before it could be written.
	undelivered bool
	// delayed is since when the API server has failed what the target needs; zero while it does not.
	delayed time.Time
	// ahead is how far the provider's clock is, where what we sign must be dated by it.
	ahead time.Duration
	// gone is true when the API server does not have the ProviderToken any more.
	gone bool
	// awaited is true while a reconcile saw that the cache does not show the last write to
	// the target, and may have left something undone until it does.
	awaited bool
	// looked is true once the target was read live in this process.
	looked bool
	// provisioned are credentials that are not in the cache yet.
	provisioned *provisioned
	// handled is the last refresh request that a definite failure used up.
	handled string
	// rehearsed is what a request was last made with for which it is known that it can be.
	rehearsed rehearsed
	// turns are the exchanges that were made out of turn.
	turns turns
	// greeted is when the ProviderToken was first seen without a status.
	greeted time.Time
	// claim is what is known of other operators that select it.
	claim claim
}

// memory holds a recollection for each UID. Its methods may be called from any goroutine.
type memory struct {
	mu     sync.Mutex
	byUID  map[types.UID]*recollection
	byName map[types.NamespacedName]types.UID
}

func newMemory() *memory {
	return &memory{byUID: map[types.UID]*recollection{}, byName: map[types.NamespacedName]types.UID{}}
}

// of returns a copy of what is remembered. A name that now belongs to another
// UID drops the memory of the former one.
func (m *memory) of(name types.NamespacedName, uid types.UID) recollection {
	m.mu.Lock()
	defer m.mu.Unlock()
	if old, known := m.byName[name]; known && old != uid {
		delete(m.byUID, old)
	}
	m.byName[name] = uid
	r := m.byUID[uid]
	if r == nil {
		r = &recollection{}
		m.byUID[uid] = r
	}
	return *r
}

// update changes what is remembered of uid; nothing when it was forgotten.
func (m *memory) update(uid types.UID, change func(*recollection)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r := m.byUID[uid]; r != nil {
		change(r)
	}
}

// told is the status that was written last and that the cache may not show yet, and whose
// it is; nil when it does. It is to be asked before the cache is read: while that is
// read, it may come to show it, and what was read would be taken for the latest.
func (m *memory) told(name types.NamespacedName) (types.UID, *reported) {
	m.mu.Lock()
	defer m.mu.Unlock()
	uid := m.byName[name]
	if r := m.byUID[uid]; r != nil {
		return uid, r.reported
	}
	return uid, nil
}

// shown forgets the status that was written, now that the cache shows it or a later one.
func (m *memory) shown(uid types.UID, resourceVersion string) {
	m.update(uid, func(r *recollection) {
		if r.reported != nil && !older(resourceVersion, r.reported.resourceVersion) {
			r.reported = nil
		}
	})
}

// rewind forgets which resource versions were written: the cluster was put back to an
// earlier state, so that what is smaller is not older any more.
func (m *memory) rewind() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.byUID {
		r.reported, r.rehearsed = nil, rehearsed{}
		if r.published != nil {
			r.published = &published{content: r.published.content}
		}
	}
}

// forget drops what is remembered under name, and returns its UID if there was any.
func (m *memory) forget(name types.NamespacedName) (types.UID, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	uid, known := m.byName[name]
	delete(m.byName, name)
	delete(m.byUID, uid)
	return uid, known
}
