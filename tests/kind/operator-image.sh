#!/usr/bin/env bash
# An image of a program that was built here, with the libraries that it is linked to and nothing else:
#   tests/kind/operator-image.sh PROGRAM IMAGE
# A release has a static program (deploy/Dockerfile), which takes a build of its own; what is in the image is the same.
set -euo pipefail
program=$1 image=$2
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/root"
strip -o "$folder/root/phasegate" "$program"
ldd "$program" | grep -o "/[^ ]* (" | tr -d "( " | xargs cp -L --parents -t "$folder/root"
tar -C "$folder/root" -c . | docker import -c 'USER 65532:65532' -c 'ENTRYPOINT ["/phasegate"]' -c 'CMD ["run"]' - "$image" >/dev/null
