# syntax=docker/dockerfile:1

# The manager, statically linked, on an image without shell or package manager.
# For a build that can be repeated exactly, pin both images by digest:
#   --build-arg BUILD_IMAGE=golang@sha256:… --build-arg RUN_IMAGE=gcr.io/distroless/static@sha256:…
ARG BUILD_IMAGE=golang:1.26-bookworm
ARG RUN_IMAGE=gcr.io/distroless/static:nonroot

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
    go build -trimpath -buildvcs=false -ldflags="-s -w -X main.version=${VERSION} -X main.commit=${COMMIT}" -o /manager .

# distroless/static holds CA certificates, /etc/passwd with nonroot, and time
# zones; nothing else. Any base that has /etc/ssl/certs serves as well.
FROM ${RUN_IMAGE}
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
