#!/usr/bin/env bash
# Builds an image with a locally built program and the libraries that it is linked to, and nothing else:
#   tests/kind/operator-image.sh PROGRAM IMAGE
# A release contains a static program (deploy/Dockerfile), which needs a separate build. The rest of the image is equal.
set -euo pipefail
program=$1 image=$2
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/root"
strip -o "$folder/root/phasegate" "$program"
ldd "$program" | grep -o "/[^ ]* (" | tr -d "( " | xargs cp -L --parents -t "$folder/root"
tar -C "$folder/root" -c . | docker import -c 'USER 65532:65532' -c 'ENTRYPOINT ["/phasegate"]' -c 'CMD ["run"]' - "$image" >/dev/null
