# Sourced by the build scripts of tests/*: builds the Go tool that go.mod beside them pins into the cache, once, and prints
# its path.
#
#   go_tool NAME MODULE HOW-LONG [go build's flags]
#   PHASEGATE_CACHE   the cache; otherwise ~/.cache/phasegate

# The checksum of what comes in.
sha256() {
  if command -v sha256sum >/dev/null; then sha256sum; else shasum -a 256; fi | cut -c 1-16
}

go_tool() {
  name=$1 module=$2 long=$3
  shift 3
  say() { echo "$name: $*" >&2; }

  folder=${PHASEGATE_CACHE:-$HOME/.cache/phasegate}
  program=$folder/$name-$(cat go.sum build ../go-tool.sh | sha256)
  if [ ! -e "$program" ]; then
    if ! command -v go >/dev/null; then
      say "go is missing: https://go.dev/dl (Go 1.26 or newer)"
      exit 1
    fi
    mkdir -p "$folder"
    # Built aside and renamed: an interrupted build must not look complete.
    new=$folder/.$name-$$ ticking=
    trap 'rm -f "$new"; kill "$ticking" 2>/dev/null || true' EXIT
    trap 'exit 130' INT TERM
    say "building $(GOWORK=off go list -m -f '{{.Version}}' "$module") ($long on two cores) …"
    begun=$(date +%s)
    while sleep 30 >/dev/null 2>&1; do say "still building ($(($(date +%s) - begun)) s)"; done >/dev/null &
    ticking=$!
    CGO_ENABLED=0 GOWORK=off go build -trimpath -ldflags "-s -w" "$@" -o "$new" tool >&2
    mv "$new" "$program"
    say "built in $(($(date +%s) - begun)) s"
  fi
  echo "$program"
}
