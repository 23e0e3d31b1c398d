package provider

// Reading says how an answer is read: which of the definition's JSON pointers find what.
// It holds no value of the answer. A pointer is empty where none finds anything.
type Reading struct {
	// Readable is false for what is neither a JSON object nor a form.
	Readable bool
	// Error found that something is refused; Decode looks there first.
	Error string
	// AccessToken and so on found what Decode takes for it.
	AccessToken, TokenType, Scope, RefreshToken, RefreshExpiry string
	// Expiry found what the answer itself says of the token's life; whether that is
	// believed is Decode's to say, since a JWT may know better.
	Expiry string
	// JWT tells that the access token is one.
	JWT bool
}

// Read tells how Decode reads an answer.
func (r Resolved) Read(a Answer) Reading {
	document, readable := parseBody(a.Body, a.Header.Get("Content-Type"))
	if !readable {
		return Reading{}
	}
	found := Reading{Readable: true}
	var access string
	access, found.AccessToken = findString(document, r.Response.AccessToken)
	_, found.TokenType = findString(document, r.Response.TokenType)
	_, found.Scope = r.findScopes(document)
	_, _, found.Expiry = r.answeredLifetime(document, a)
	_, found.JWT = jwtClaims(access)
	if r.UseRefreshToken != Never {
		_, found.RefreshToken = findString(document, r.Response.RefreshToken)
		_, found.RefreshExpiry = findDuration(document, r.Response.RefreshExpiresIn)
	}
	for _, pointer := range r.Response.Error {
		if _, stated := errorCode(lookup(document, pointer)); stated {
			found.Error = pointer
			break
		}
	}
	return found
}

// Members are the answer's, with numbers as json.Number; false when it is neither a JSON
// object nor a form. Among them are tokens: whoever shows some must know which.
func (a Answer) Members() (map[string]any, bool) {
	return parseBody(a.Body, a.Header.Get("Content-Type"))
}

// Claims are header and payload of a JWT, of which nothing is verified; false for what
// is none.
func Claims(jwt string) (header, claims map[string]any, ok bool) {
	claims, ok = jwtClaims(jwt)
	if !ok {
		return nil, nil, false
	}
	header, _ = jwtHeader(jwt)
	return header, claims, true
}
