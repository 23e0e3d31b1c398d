# syntax=docker/dockerfile:1

# The manager, statically linked, and its licence: nothing else. The authorities
# that it trusts are compiled in, so there is no base image to keep up to date.
# hack/image builds the same content without Docker, reproducibly, with an SBOM;
# its tests compare the two.
#
# For a build with Docker that can be repeated exactly, pin the compiler by digest:
#   --build-arg BUILD_IMAGE=golang@sha256:…
ARG BUILD_IMAGE=golang:1.26-bookworm

FROM --platform=${BUILDPLATFORM} ${BUILD_IMAGE} AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY main.go ./
COPY api ./api
COPY internal ./internal
ARG TARGETOS=linux
ARG TARGETARCH
ARG VERSION=dev
ARG COMMIT=unknown
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 GOOS=${TARGETOS} GOARCH=${TARGETARCH} \
    go build -trimpath -buildvcs=false -ldflags="-s -w -buildid= -X main.version=${VERSION} -X main.commit=${COMMIT}" -o /manager .

FROM scratch
ARG VERSION=dev
ARG COMMIT=unknown
LABEL org.opencontainers.image.title="providertoken" \
      org.opencontainers.image.description="Keeps provider tokens in Kubernetes Secrets fresh" \
      org.opencontainers.image.source="https://github.com/providertoken/operator" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${COMMIT}"
COPY LICENSE /licenses/LICENSE
COPY --from=build /manager /manager
USER 65532:65532
ENTRYPOINT ["/manager"]
