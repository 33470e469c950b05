#!/usr/bin/env bash
# The image of the ingress controller of the tests on real nodes, Skipper: tests/kind/ingress/image.sh IMAGE
# It is built from its Go module, once.
set -euo pipefail
cd "$(dirname "$0")"
key=$(cat go.mod go.sum image.sh | sha256sum | cut -c1-16)
program=${PHASEGATE_CACHE:-$HOME/.cache/phasegate}/skipper-$key
if [ ! -e "$program" ]; then
  echo "kind: building the ingress controller …" >&2
  CGO_ENABLED=0 GOWORK=off go build -trimpath -ldflags "-s -w" -o "$program.$$" github.com/zalando/skipper/cmd/skipper
  mv "$program.$$" "$program"
fi
tar -C "${program%/*}" --transform 's,.*,skipper,' -c "${program##*/}" |
  docker import -c 'USER 65532:65532' -c 'ENTRYPOINT ["/skipper"]' - "$1" >/dev/null
