// Command image builds a container image of one Go program without a container
// engine: an empty base, the static binary, the licence, nothing else. The
// Dockerfile at the repository's root describes the same content for those who
// build with Docker.
//
//	go -C hack/image run . -tag ghcr.io/providertoken/operator:v0.1.0 -o bin/operator.tar
//
// The same sources, Go version and flags give the same digests, on every machine
// and from every directory: paths are trimmed, nothing is dated (or everything by
// SOURCE_DATE_EPOCH, where that is set).
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

const usage = `Builds a container image of a Go program, without a container engine.

  go -C hack/image run . -tag NAME [-o FILE.tar] [-oci DIRECTORY] [-push] [flags]

Relative paths are relative to the repository's root. At least one of -o, -oci
and -push says where the image goes:

`

// request is what the command line asks for.
type request struct {
	tag       name.Tag
	root      string
	pkg       string
	program   string
	version   string
	commit    string
	overlay   string
	platforms []v1.Platform
	labels    map[string]string
	created   time.Time // zero: undated

	archive, layout string
	push, insecure  bool
}

func main() {
	err := run(os.Args[1:], os.Getenv, os.Stdout, os.Stderr)
	switch {
	case err == nil:
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	default:
		fmt.Fprintln(os.Stderr, "hack/image:", err)
		os.Exit(1)
	}
}

func run(args []string, env func(string) string, out, help io.Writer) error {
	q, err := parse(args, env, help)
	if err != nil {
		return err
	}
	built, err := q.build()
	if err != nil {
		return err
	}
	for _, b := range built {
		if err := b.describe(out, q.tag); err != nil {
			return err
		}
	}
	return q.deliver(built, out)
}

func parse(args []string, env func(string) string, help io.Writer) (request, error) {
	q := request{labels: map[string]string{
		"org.opencontainers.image.title":       "providertoken",
		"org.opencontainers.image.description": "Keeps provider tokens in Kubernetes Secrets fresh",
		"org.opencontainers.image.source":      "https://github.com/providertoken/operator",
		"org.opencontainers.image.licenses":    "Apache-2.0",
	}}
	var tag, platforms string
	fs := flag.NewFlagSet("image", flag.ContinueOnError)
	fs.SetOutput(help)
	fs.Usage = func() {
		_, _ = fmt.Fprint(help, usage)
		fs.PrintDefaults()
	}
	fs.StringVar(&tag, "tag", "", "`name` of the image, with tag: ghcr.io/providertoken/operator:v0.1.0")
	fs.StringVar(&q.archive, "o", "", "`file` to write for docker load, ctr images import and kind load image-archive: the first platform only; the SBOM goes beside it")
	fs.StringVar(&q.layout, "oci", "", "`directory` to write as an OCI layout: all platforms and, as referrers, their SBOMs")
	fs.BoolVar(&q.push, "push", false, "push all platforms and their SBOMs, as who docker login made you")
	fs.BoolVar(&q.insecure, "insecure", false, "push over http where https is not answered")
	fs.StringVar(&platforms, "platform", "linux/"+runtime.GOARCH, "comma-separated `platforms`, such as linux/amd64,linux/arm64")
	fs.StringVar(&q.root, "root", "../..", "`directory` of the Go module that holds the package, and of LICENSE")
	fs.StringVar(&q.pkg, "package", ".", "`package` to build, relative to the root")
	fs.StringVar(&q.program, "name", "", "`name` of the binary in the image; manager for the root package, else the package's last element")
	fs.StringVar(&q.version, "version", "", "`version` of the program; the tag's when left out")
	fs.StringVar(&q.commit, "commit", "unknown", "`commit` it is built from")
	fs.StringVar(&q.overlay, "overlay", "", "`file` for go build -overlay: builds as if some sources were different")
	fs.Func("label", "`key=value` of a further label, or of one to replace; may be repeated", func(s string) error {
		key, value, found := strings.Cut(s, "=")
		if !found || key == "" {
			return errors.New("write it as key=value")
		}
		q.labels[key] = value
		return nil
	})
	if err := fs.Parse(args); err != nil {
		return q, flag.ErrHelp // flag has printed the mistake and the usage
	}
	if fs.NArg() > 0 {
		return q, fmt.Errorf("unexpected argument %q: everything is a flag, see -help", fs.Arg(0))
	}
	return q, q.complete(tag, platforms, env("SOURCE_DATE_EPOCH"))
}

// complete checks what was given and fills in what was not.
func (q *request) complete(tag, platforms, epoch string) error {
	var err error
	if q.tag, err = name.NewTag(tag, name.StrictValidation); err != nil {
		return fmt.Errorf("-tag %q: write a whole name with a tag, such as ghcr.io/providertoken/operator:v0.1.0", tag)
	}
	if q.archive == "" && q.layout == "" && !q.push {
		return errors.New("nothing to do: say where the image goes with -o, -oci or -push")
	}
	for p := range strings.SplitSeq(platforms, ",") {
		parsed, err := v1.ParsePlatform(strings.TrimSpace(p))
		if err != nil || parsed.OS != "linux" || parsed.Architecture == "" || parsed.Variant != "" {
			return fmt.Errorf("-platform %q: write linux/amd64, linux/arm64, or both with a comma", p)
		}
		q.platforms = append(q.platforms, *parsed)
	}
	if q.root, err = filepath.Abs(q.root); err != nil {
		return err
	}
	for _, p := range []*string{&q.archive, &q.layout, &q.overlay} {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(q.root, *p)
		}
	}
	q.pkg = path.Clean(filepath.ToSlash(q.pkg))
	if q.program == "" {
		q.program = "manager"
		if q.pkg != "." {
			q.program = path.Base(q.pkg)
		}
	}
	if q.version == "" {
		q.version = q.tag.TagStr()
	}
	if epoch != "" {
		seconds, err := strconv.ParseInt(epoch, 10, 64)
		if err != nil {
			return fmt.Errorf("SOURCE_DATE_EPOCH=%q: must be a number of seconds", epoch)
		}
		q.created = time.Unix(seconds, 0).UTC()
	}
	q.labels["org.opencontainers.image.version"] = q.version
	q.labels["org.opencontainers.image.revision"] = q.commit
	return nil
}

// annotations are the labels again, for registries that show an index without
// looking into its images.
func (q request) annotations() map[string]string { return maps.Clone(q.labels) }

// dated is when everything in the image was made, as far as the image tells.
func (q request) dated() time.Time {
	if q.created.IsZero() {
		return time.Unix(0, 0).UTC()
	}
	return q.created
}

// text is a platform as in -platform.
func text(p v1.Platform) string { return strings.Join([]string{p.OS, p.Architecture}, "/") }

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
