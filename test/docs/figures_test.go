package docs_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	testworld "github.com/providertoken/operator/test/world"
)

// figure is a number that is quoted, with a comment that says which file has it, and where (RFC 6901).
var figure = regexp.MustCompile(`([0-9][0-9,]*(?:\.[0-9]+)?)<!-- (docs/benchmarks/[a-zA-Z0-9._-]+\.json)#(/[a-zA-Z0-9/]+) -->`)

func TestQuotedFiguresAreThoseOfTheBenchmark(t *testing.T) {
	t.Parallel()
	all, err := pages()
	if err != nil {
		t.Fatal(err)
	}
	compared, waiting := 0, 0
	for _, page := range sorted(all) {
		for _, m := range figure.FindAllStringSubmatch(all[page], -1) {
			measured, err := quoted(m[2], m[3])
			if errors.Is(err, fs.ErrNotExist) {
				waiting++ // not measured yet
				continue
			}
			if err != nil {
				t.Errorf("%s quotes %s%s: %v", page, m[2], m[3], err)
				continue
			}
			_, decimals, _ := strings.Cut(m[1], ".")
			if want := strconv.FormatFloat(measured, 'f', len(decimals), 64); strings.ReplaceAll(m[1], ",", "") != want {
				t.Errorf("%s says %s, %s%s says %s", page, m[1], m[2], m[3], want)
			}
			compared++
		}
	}
	t.Logf("%d figures compared, %d not measured yet", compared, waiting)
	if compared+waiting == 0 {
		t.Error("no figure is quoted any more: is the comment behind it still of the form <!-- file#pointer -->?")
	}
}

// quoted is the number in a file.
func quoted(file, pointer string) (float64, error) {
	content, err := os.ReadFile(filepath.Join(testworld.Root(), file))
	if err != nil {
		return 0, err
	}
	var value any
	if err := json.Unmarshal(content, &value); err != nil {
		return 0, err
	}
	for _, name := range strings.Split(pointer, "/")[1:] {
		object, is := value.(map[string]any)
		if !is {
			return 0, errors.New("no object there")
		}
		value = object[name]
	}
	number, is := value.(float64)
	if !is {
		return 0, errors.New("no number there")
	}
	return number, nil
}
