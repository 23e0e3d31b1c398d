package controller

import (
	"bytes"
	"fmt"
	"reflect"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/providertoken/operator/api/v1alpha1"
)

// fillIn sets every field below v to something.
func fillIn(v reflect.Value) {
	switch {
	case v.Type() == reflect.TypeFor[metav1.Time]():
		v.Set(reflect.ValueOf(metav1.NewTime(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))))
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fillIn(v.Elem())
	case v.Kind() == reflect.Struct:
		for _, field := range v.Fields() {
			fillIn(field)
		}
	case v.Kind() == reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			fillIn(v.Index(i))
		}
	case v.Kind() == reflect.String:
		v.SetString("x")
	case v.CanInt():
		v.SetInt(7)
	default:
		panic(fmt.Sprintf("fillIn does not know %s", v.Type()))
	}
}

// visit calls f with a way to change each field below v, and takes each change back.
func visit(v reflect.Value, path string, f func(path string)) {
	restore := reflect.New(v.Type()).Elem()
	restore.Set(v)
	change := func(to reflect.Value, how string) {
		v.Set(to)
		f(path + how)
		v.Set(restore)
	}
	switch {
	case v.Type() == reflect.TypeFor[metav1.Time]():
		change(reflect.ValueOf(metav1.NewTime(time.Date(2026, 1, 2, 3, 4, 6, 0, time.UTC))), " is later")
	case v.Kind() == reflect.Pointer:
		change(reflect.Zero(v.Type()), " is absent")
		visit(v.Elem(), path, f)
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			visit(v.Field(i), path+"."+v.Type().Field(i).Name, f)
		}
	case v.Kind() == reflect.Slice:
		change(v.Slice(0, 1), " is shorter")
		visit(v.Index(1), path+"[1]", f)
	case v.Kind() == reflect.String:
		change(reflect.ValueOf("y").Convert(v.Type()), " is another")
	case v.CanInt():
		change(reflect.ValueOf(8).Convert(v.Type()), " is another")
	}
}

func TestEveryFieldOfStatusCountsWhenStatusesAreCompared(t *testing.T) {
	var a, b v1alpha1.ProviderTokenStatus
	fillIn(reflect.ValueOf(&a).Elem())
	fillIn(reflect.ValueOf(&b).Elem())
	if !sameStatus(&a, &b) {
		t.Fatal("equal ones are told apart")
	}
	seen := 0
	visit(reflect.ValueOf(&a).Elem(), "status", func(path string) {
		seen++
		if sameStatus(&a, &b) || sameStatus(&b, &a) {
			t.Errorf("%s, and that is not noticed", path)
		}
	})
	if seen < 30 {
		t.Errorf("only %d changes were tried", seen)
	}
	there := metav1.NewTime(b.RefreshAt.In(time.FixedZone("there", 3600)))
	b.RefreshAt = &there
	if !sameStatus(&a, &b) {
		t.Error("an instant in another time zone counts as another")
	}
}

func TestAStatusPatchIsWhatAPatchOfTheWholeObjectWouldBe(t *testing.T) {
	was := &v1alpha1.ProviderToken{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "a", ResourceVersion: "7", Labels: map[string]string{"a": "b"}}}
	is := was.DeepCopy()
	fillIn(reflect.ValueOf(&is.Status).Elem())
	for name, change := range map[string]func(from, to *v1alpha1.ProviderToken){
		"from nothing": func(_, _ *v1alpha1.ProviderToken) {},
		"to nothing":   func(from, to *v1alpha1.ProviderToken) { *from, *to = *to, *from },
		"a refresh": func(from, to *v1alpha1.ProviderToken) {
			from.Status = *to.Status.DeepCopy()
			to.Status.Token.IssuedAt = metav1.NewTime(to.Status.Token.IssuedAt.Add(time.Hour))
			to.Status.Failure = nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			from, to := was.DeepCopy(), is.DeepCopy()
			change(from, to)
			want, err := client.MergeFrom(from).Data(to)
			if err != nil {
				t.Fatal(err)
			}
			p := statusPatch{&from.Status}
			got, err := p.Data(to)
			if err != nil || !bytes.Equal(got, want) || p.Type() != types.MergePatchType {
				t.Errorf("%s is %s, want %s (%v)", p.Type(), got, want, err)
			}
		})
	}
}
