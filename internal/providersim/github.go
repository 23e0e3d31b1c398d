package providersim

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The GitHub App that is installed from the start. It has no key until SetKey gives
// it one. GitHub takes its client ID and its older, numeric app ID alike as iss.
const (
	GitHubClientID     = "Iv23liDemoAppClient0"
	GitHubAppID        = "314159"
	GitHubInstallation = "27182818"
	// GitHubRepository is one that the installation may use.
	GitHubRepository = "hello-world"
)

const (
	gitHubMediaType  = "application/vnd.github+json"
	gitHubAPIVersion = "2022-11-28"
	// gitHubMaxAhead is "no more than 10 minutes into the future".
	gitHubMaxAhead = 10 * time.Minute
)

// GitHubApp is the endpoint of GitHub's REST API that makes installation access tokens.
//
// By docs.github.com, "Generating a JSON Web Token (JWT) for a GitHub App": RS256; iat,
// exp at most ten minutes ahead, and iss. By "REST API endpoints for GitHub Apps", create
// an installation access token: method, path, the headers Accept and X-GitHub-Api-Version,
// the optional body with repositories, repository_ids and permissions, 201, and the
// members of the answer. By "Getting started with the REST API": a User-Agent is needed.
// The messages are those in octokit/auth-app.js#698, sigmavirus24/github3.py#1050 and
// the like. GitHub documents Accept and the version as recommended; here they are
// demanded. It is silent on further claims: aud and jti are taken, others refused; and
// on a replayed jti, which is not looked at.
type GitHubApp struct {
	*Host
	key         *rsa.PublicKey
	suspended   bool
	permissions map[string]string
	grants      map[string]GitHubGrant
}

// GitHubGrant is what an installation access token is good for.
type GitHubGrant struct {
	Permissions  map[string]string
	Repositories []string
}

func newGitHubApp(h *Host) *GitHubApp {
	p := &GitHubApp{
		Host:        h,
		permissions: map[string]string{"contents": "read", "issues": "write", "metadata": "read"},
		grants:      map[string]GitHubGrant{},
	}
	h.answer, h.kindOf = p.judgeToken, gitHubKind
	return p
}

func gitHubKind(r *http.Request, _ url.Values) Kind {
	if strings.HasSuffix(r.URL.Path, "/access_tokens") {
		return KindInstallation
	}
	return KindOther
}

// TokenURL is where the installation's tokens are made.
func (p *GitHubApp) TokenURL() string { return p.at(gitHubPath(GitHubInstallation)) }

func gitHubPath(installation string) string {
	return "/app/installations/" + installation + "/access_tokens"
}

// SetKey gives the App its key, or another one.
func (p *GitHubApp) SetKey(key *rsa.PublicKey) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.key = key
}

// Suspend is what an organisation's owner can do to an installation.
func (p *GitHubApp) Suspend(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.suspended = on
}

// Granted tells what a token is good for; false when GitHub did not make it.
func (p *GitHubApp) Granted(token string) (GitHubGrant, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	g, ok := p.grants[token]
	return g, ok
}

// SecondaryRateLimit is how GitHub asks for a pause (docs.github.com, "Rate limits for
// the REST API": "403 or 429", with Retry-After).
func SecondaryRateLimit(status int, retryAfter string) Script {
	return JSON(status, `{"message":"You have exceeded a secondary rate limit. Please wait a few minutes before you try again."}`,
		RetryAfter(retryAfter))
}

func (p *GitHubApp) judgeToken(q request) reply {
	if q.UserAgent() == "" {
		return refusal(http.StatusForbidden,
			"Request forbidden by administrative rules. Please make sure your request has a User-Agent header")
	}
	if !slices.Equal(q.Header.Values("Accept"), []string{gitHubMediaType}) {
		return gitHubError(http.StatusUnsupportedMediaType, "Unsupported 'Accept' header. Must accept 'application/vnd.github+json'.")
	}
	if !slices.Equal(q.Header.Values("X-Github-Api-Version"), []string{gitHubAPIVersion}) {
		return gitHubError(http.StatusBadRequest, "The requested API version is not supported.")
	}
	if !strings.HasPrefix(q.URL.Path, "/app/installations/") || q.Method != http.MethodPost || q.hasQuery() {
		return gitHubError(http.StatusNotFound, "Not Found")
	}
	if refused := p.judgeApp(q); refused != nil {
		return *refused
	}
	if q.URL.Path != gitHubPath(GitHubInstallation) {
		return gitHubError(http.StatusNotFound, "Not Found")
	}
	if p.suspended {
		return gitHubError(http.StatusForbidden, "This installation has been suspended")
	}
	return p.judgeBody(q)
}

// judgeApp returns why the App is not believed to be itself; nil when it is.
func (p *GitHubApp) judgeApp(q request) *reply {
	refuse := func(status int, message string) *reply {
		r := gitHubError(status, message)
		return &r
	}
	const undecodable = "A JSON web token could not be decoded"
	a, ok := readAssertion(q.bearer())
	if !ok || !a.headed("kid") {
		return refuse(http.StatusUnauthorized, undecodable)
	}
	if expires, ok := a.instant("exp"); !ok || !q.now.Before(expires) {
		return refuse(http.StatusUnauthorized,
			"'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion expires")
	} else if expires.After(q.now.Add(gitHubMaxAhead)) {
		return refuse(http.StatusUnauthorized, "'Expiration time' claim ('exp') is too far in the future")
	}
	if issued, ok := a.instant("iat"); !ok || issued.After(q.now) {
		return refuse(http.StatusUnauthorized,
			"'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued")
	}
	if iss := a.text("iss"); iss != GitHubClientID && iss != GitHubAppID {
		return refuse(http.StatusNotFound, "Integration not found")
	}
	if p.key == nil || !a.signedBy(p.key) || !a.has([]string{"iss", "iat", "exp"}, []string{"aud", "jti"}) {
		return refuse(http.StatusUnauthorized, undecodable)
	}
	return nil
}

// judgeBody narrows what the token is good for; no body asks for all there is.
func (p *GitHubApp) judgeBody(q request) reply {
	wish, refused := readGitHubWish(q)
	if refused != nil {
		return *refused
	}
	granted := GitHubGrant{Permissions: p.permissions}
	if wish.Permissions != nil {
		granted.Permissions = wish.Permissions
	}
	for name, level := range granted.Permissions {
		if most := p.permissions[name]; level != most && (level != "read" || most != "write") {
			return gitHubError(http.StatusUnprocessableEntity, "The permissions requested are not granted to this installation.")
		}
	}
	for _, repository := range wish.Repositories {
		if repository != GitHubRepository {
			return gitHubError(http.StatusUnprocessableEntity,
				"There is at least one repository that does not exist or is not accessible to the parent installation.")
		}
	}
	granted.Repositories = wish.Repositories
	return p.grantToken(q, granted)
}

type gitHubWish struct {
	Repositories []string          `json:"repositories"`
	Permissions  map[string]string `json:"permissions"`
}

func readGitHubWish(q request) (wish gitHubWish, refused *reply) {
	refuse := func(status int, message string) *reply {
		r := gitHubError(status, message)
		return &r
	}
	if len(q.body) == 0 {
		return gitHubWish{}, nil
	}
	media, _, err := mime.ParseMediaType(q.Header.Get("Content-Type"))
	if err != nil || media != "application/json" {
		return gitHubWish{}, refuse(http.StatusUnsupportedMediaType, "Unsupported 'Content-Type' header")
	}
	var members map[string]json.RawMessage
	if json.Unmarshal(q.body, &members) != nil {
		return gitHubWish{}, refuse(http.StatusBadRequest, "Problems parsing JSON")
	}
	for _, name := range slices.Sorted(maps.Keys(members)) {
		if name != "repositories" && name != "permissions" {
			return gitHubWish{}, refuse(http.StatusUnprocessableEntity, "Invalid request.\n\n\""+name+"\" is not a permitted key.")
		}
	}
	if json.Unmarshal(q.body, &wish) != nil {
		return gitHubWish{}, refuse(http.StatusUnprocessableEntity, "Invalid request.")
	}
	return wish, nil
}

func (p *GitHubApp) grantToken(q request, granted GitHubGrant) reply {
	// expires_at counts whole seconds.
	token, expires := "ghs_"+rand.Text()+rand.Text(), q.now.Truncate(time.Second).Add(p.lifetime)
	p.book(q, token, grant{expires: expires})
	if !q.unbooked {
		p.grants[token] = granted
	}
	fields := map[string]any{
		"token": token, "expires_at": expires.UTC().Format(time.RFC3339),
		"permissions": granted.Permissions, "repository_selection": "all",
	}
	if granted.Repositories != nil {
		fields["repository_selection"] = "selected"
	}
	return jsonReply(http.StatusCreated, fields)
}

func gitHubError(status int, message string) reply {
	return jsonReply(status, map[string]any{
		"message": message, "documentation_url": "https://docs.github.com/rest", "status": strconv.Itoa(status),
	})
}
