// Package rotation keeps refresh tokens that are themselves the credential (RFC 6749
// §6, RFC 9700 §4.14), and that the provider replaces with each use, such that no
// crash loses one unnoticed and none is used twice by accident: a provider that sees
// a used one takes it for stolen and revokes all that came from it.
//
// The state is a Secret that pods have no business with. Its order of writes is the
// protocol: the intent to use the token, by compare-and-swap; one use; the new token
// together with the end of the intent; and only then may the access token be
// published. An intent that nobody ended means that the outcome is not known: the
// token is then used once more, as late as the access token at hand allows, and
// after that only a person can help.
//
// It talks to the API server only. It must not import anything of provider,
// exchange, schedule, target or controller.
package rotation
