#!/usr/bin/env bash
# The image of the gateway that tests run on real nodes: tests/kind/gateway/image.sh IMAGE
set -euo pipefail
cd "$(dirname "$0")"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
CGO_ENABLED=0 GOWORK=off go build -trimpath -ldflags "-s -w" -o "$folder/gateway" .
tar -C "$folder" -c gateway | docker import -c 'USER 65532:65532' -c 'ENTRYPOINT ["/gateway"]' - "$1" >/dev/null
