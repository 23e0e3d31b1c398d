package trial

// Mask lets tests hide a secret.
type Mask struct{ *mask }

// NewMask knows one secret.
func NewMask(secret string) Mask {
	m := newMask()
	m.hide(secret)
	return Mask{m}
}

// Text is what is shown of s.
func (m Mask) Text(s string) string { return m.text(s) }

// Prose is what is shown of s, when somebody else wrote it.
func (m Mask) Prose(s string) string { return m.prose(s) }
