package provider

import (
	"fmt"
	"net/http"
	"testing"
)

func BenchmarkDecode(b *testing.B) {
	jwt := fmt.Sprintf("%0900d", 7)
	for name, body := range map[string]string{
		"opaque": `{"access_token":"0123456789abcdef","token_type":"Bearer","expires_in":3600}`,
		"jwt":    `{"access_token":"` + jwt + `","token_type":"bearer","expires_in":3600,"refresh_token":"` + jwt + `","refresh_expires_in":7200,"scope":"a b c"}`,
		"error":  `{"error":"invalid_client","error_description":"no"}`,
	} {
		b.Run("answer="+name, func(b *testing.B) {
			r := resolve(b, plain(), nil)
			status := http.StatusOK
			if name == "error" {
				status = http.StatusUnauthorized
			}
			answer := Answer{
				Status: status, Header: http.Header{"Content-Type": {"application/json"}, "Date": {sent().Format(http.TimeFormat)}},
				Body: []byte(body), SentAt: sent(), ReceivedAt: sent(),
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := r.Decode(Request{Grant: r.Grant}, answer); (err != nil) != (name == "error") {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkResolve(b *testing.B) {
	for name, d := range map[string]Definition{"plain": plain(), "UP42": builtin(b, "UP42"), "SpatiaFi": builtin(b, "SpatiaFi")} {
		b.Run("definition="+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := d.Resolve(nil, always); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkNewRequest(b *testing.B) {
	r := resolve(b, plain(), nil)
	in := RequestInput{Credentials: creds(CredClientID, "id", CredClientSecret, "secret"), Scopes: []string{"a"}, Now: sent(), ID: "-"}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.NewRequest(in); err != nil {
			b.Fatal(err)
		}
	}
}
