package provider

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// filledValue is a value of that type in which every field, list and map holds something,
// made from the text; deep stops what contains itself.
func filledValue(t reflect.Type, text string, deep int) reflect.Value {
	v := reflect.New(t).Elem()
	switch t.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(len(text)))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Interface:
		v.Set(reflect.ValueOf(map[string]any{text: []any{text}}))
	case reflect.Pointer:
		v.Set(reflect.New(t.Elem()))
		v.Elem().Set(filledValue(t.Elem(), text, deep))
	case reflect.Slice:
		if t.Elem() == reflect.TypeFor[Method]() && deep == 0 {
			return v
		}
		v.Set(reflect.Append(v, filledValue(t.Elem(), text, deep-1)))
	case reflect.Map:
		v.Set(reflect.MakeMap(t))
		v.SetMapIndex(reflect.ValueOf(text), filledValue(t.Elem(), text, deep))
	case reflect.Struct:
		for i := range t.NumField() {
			v.Field(i).Set(filledValue(t.Field(i).Type, text, deep))
		}
	default:
		panic("a kind of field that is new: " + t.String())
	}
	return v
}

func everyField(text string) Definition {
	d, _ := reflect.TypeAssert[Definition](filledValue(reflect.TypeFor[Definition](), text, 1))
	return d
}

func TestNoFieldIsForgottenByAnOverlay(t *testing.T) {
	full := everyField("one")
	if diff := cmp.Diff(full, full.clone()); diff != "" {
		t.Errorf("a copy lacks something: %s", diff)
	}
	if diff := cmp.Diff(full, merge(full, Definition{})); diff != "" {
		t.Errorf("an overlay of nothing changes something: %s", diff)
	}
	fields := reflect.TypeFor[Definition]()
	for i := range fields.NumField() {
		over := Definition{}
		reflect.ValueOf(&over).Elem().Field(i).Set(reflect.ValueOf(everyField("other")).Field(i))
		got := reflect.ValueOf(merge(full, over)).Field(i).Interface()
		if text := fmt.Sprintf("%+v", got); strings.Contains(fmt.Sprintf("%+v", reflect.ValueOf(over).Field(i).Interface()), "other") && !strings.Contains(text, "other") {
			t.Errorf("%s of an overlay is lost: %s", fields.Field(i).Name, text)
		}
	}
}

func TestCopiesShareNothing(t *testing.T) {
	full := everyField("one")
	copied := full.clone()
	spoil(reflect.ValueOf(&copied).Elem())
	if diff := cmp.Diff(everyField("one"), full); diff != "" {
		t.Errorf("it was changed through a copy: %s", diff)
	}
}

// spoil changes everything that a copy could share with its original.
func spoil(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		if v.CanSet() {
			v.SetString("spoilt")
		}
	case reflect.Pointer:
		if !v.IsNil() {
			spoil(v.Elem())
		}
	case reflect.Interface:
		if members, ok := reflect.TypeAssert[map[string]any](v); ok {
			for name, member := range members {
				if list, ok := member.([]any); ok {
					list[0] = "spoilt"
				}
				members[name+"2"] = "spoilt"
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			spoil(v.Index(i))
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			spoil(v.MapIndex(key))
			v.SetMapIndex(key, reflect.Zero(v.Type().Elem()))
		}
	case reflect.Struct:
		for _, field := range v.Fields() {
			spoil(field)
		}
	}
}
