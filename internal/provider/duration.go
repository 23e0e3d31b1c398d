package provider

import (
	"encoding/json"
	"fmt"
	"time"
)

// UnmarshalJSON reads a Go duration string such as "5m". Bare numbers are refused:
// nobody can tell their unit.
func (d *Duration) UnmarshalJSON(data []byte) error {
	var text *string
	if err := json.Unmarshal(data, &text); err != nil {
		return fmt.Errorf(`a duration must be a string such as "5m": %w`, err)
	}
	if text == nil {
		return nil
	}
	parsed, err := time.ParseDuration(*text)
	if err != nil {
		return fmt.Errorf(`a duration must be a string such as "5m": %w`, err)
	}
	d.Duration = parsed
	return nil
}

// MarshalJSON writes the duration as UnmarshalJSON reads it.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(d.String()) }
