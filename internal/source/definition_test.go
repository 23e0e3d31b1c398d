package source

import (
	"reflect"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/providertoken/operator/api/v1alpha1"
	"github.com/providertoken/operator/internal/provider"
)

// fill sets every field of v, however deep, to something that is not zero.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Struct:
		if d, isDuration := reflect.TypeAssert[*metav1.Duration](v.Addr()); isDuration {
			d.Duration = 7 * time.Second
			return
		}
		for _, field := range v.Fields() {
			fill(field)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Map:
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(key)
		fill(value)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, value)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Interface: // of an object that came decoded; RawExtension has its text
	case reflect.Uint8:
		v.SetUint('x')
	case reflect.String:
		v.SetString("x")
	default:
		v.SetInt(3)
	}
}

// zeros lists the fields of v, however deep, that are zero.
func zeros(v reflect.Value, path string) []string {
	if v.Kind() == reflect.Struct && v.Type() != reflect.TypeFor[provider.Duration]() {
		var found []string
		for i := range v.NumField() {
			found = append(found, zeros(v.Field(i), path+"."+v.Type().Field(i).Name)...)
		}
		return found
	}
	if v.IsZero() {
		return []string{path}
	}
	return nil
}

func TestConvertLosesNoField(t *testing.T) {
	var spec v1alpha1.ProviderDefinition
	fill(reflect.ValueOf(&spec).Elem())
	spec.Request.JSON.Raw = []byte(`{"x":"x"}`)
	converted, err := convert(spec)
	if err != nil {
		t.Fatal(err)
	}
	// What only the catalog may say, and what resolving adds.
	catalogOnly := map[string]bool{
		".Description": true, ".Documentation": true, ".Parameters": true, ".CredentialKeys": true, ".Methods": true,
		".Provisioning":          true,
		".Request.BasicEncoding": true,
	}
	for _, path := range zeros(reflect.ValueOf(converted), "") {
		if !catalogOnly[path] {
			t.Errorf("convert does not set %s", path)
		}
	}
}
