#!/usr/bin/env bash
# The images of the gateway that tests run on real nodes: tests/kind/gateway/image.sh IMAGE
# IMAGE-next is another one, for a change of the image, and IMAGE-root runs as root.
set -euo pipefail
cd "$(dirname "$0")"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
CGO_ENABLED=0 GOWORK=off go build -trimpath -ldflags "-s -w" -o "$folder/gateway" .
import() { # name, user
  tar -C "$folder" -c gateway | docker import -c "USER $2" -c 'ENTRYPOINT ["/gateway"]' - "$1" >/dev/null
}
import "$1" 65532:65532
import "$1-next" 65532:65532
import "$1-root" 0:0
