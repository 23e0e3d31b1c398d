package main

import (
	"bytes"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/CycloneDX/cyclonedx-go"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// describeContent is the bill of materials (CycloneDX) of a Go binary: the
// modules that the linker says are in it, which go.mod only suspects. It has
// neither a random serial number nor the time of day, so that it is as
// reproducible as the binary.
func (q request) describeContent(platform v1.Platform, program []byte) ([]byte, error) {
	info, err := buildinfo.Read(bytes.NewReader(program))
	if err != nil {
		return nil, fmt.Errorf("reading the modules out of the binary: %w", err)
	}
	sum := sha256.Sum256(program)
	top := cyclonedx.Component{
		BOMRef:     purl(info.Path, q.version),
		Type:       cyclonedx.ComponentTypeApplication,
		Name:       info.Path,
		Version:    q.version,
		PackageURL: purl(info.Path, q.version) + "?goarch=" + platform.Architecture + "&goos=" + platform.OS,
		Hashes:     &[]cyclonedx.Hash{{Algorithm: cyclonedx.HashAlgoSHA256, Value: hex.EncodeToString(sum[:])}},
	}
	components := []cyclonedx.Component{library("std", strings.TrimPrefix(info.GoVersion, "go"), "")}
	for _, dep := range info.Deps {
		if dep.Replace != nil {
			dep = dep.Replace
		}
		components = append(components, library(dep.Path, dep.Version, dep.Sum))
	}
	parts := make([]string, 0, len(components))
	for _, c := range components {
		parts = append(parts, c.BOMRef)
	}
	bom := cyclonedx.NewBOM()
	bom.SerialNumber = serialNumber(sum)
	bom.Metadata = &cyclonedx.Metadata{Component: &top}
	if !q.created.IsZero() {
		bom.Metadata.Timestamp = q.created.Format(time.RFC3339)
	}
	bom.Components = &components
	// A binary does not tell which of its modules wanted which.
	bom.Dependencies = &[]cyclonedx.Dependency{{Ref: top.BOMRef, Dependencies: &parts}}
	var out bytes.Buffer
	err = cyclonedx.NewBOMEncoder(&out, cyclonedx.BOMFileFormatJSON).SetPretty(true).EncodeVersion(bom, cyclonedx.SpecVersion1_6)
	return out.Bytes(), err
}

// library is a module; sum is its line in go.sum ("h1:" and base64 of a SHA-256).
func library(path, version, sum string) cyclonedx.Component {
	c := cyclonedx.Component{
		BOMRef: purl(path, version), Type: cyclonedx.ComponentTypeLibrary, Name: path, Version: version,
		Scope: cyclonedx.ScopeRequired, PackageURL: purl(path, version),
	}
	encoded, found := strings.CutPrefix(sum, "h1:")
	if raw, err := base64.StdEncoding.DecodeString(encoded); found && err == nil {
		c.Hashes = &[]cyclonedx.Hash{{Algorithm: cyclonedx.HashAlgoSHA256, Value: hex.EncodeToString(raw)}}
	}
	return c
}

// purl names a Go module for vulnerability databases.
func purl(path, version string) string {
	return "pkg:golang/" + path + "@" + url.PathEscape(version)
}

// serialNumber is a UUID of version 8 (RFC 9562 §5.8), made from the binary's hash.
func serialNumber(sum [sha256.Size]byte) string {
	id := sum[:16]
	id[6] = id[6]&0x0f | 0x80
	id[8] = id[8]&0x3f | 0x80
	return fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}
