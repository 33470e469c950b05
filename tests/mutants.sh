#!/usr/bin/env bash
# Plants one mistake after the other (tests/planted/NAME.patch) in a copy of this checkout, runs the test that the patch
# names, and prints which test fails. A mistake that no test finds is a failure, and so is a patch that does not apply or
# compile. The checkout itself is not changed.
#
#   tests/mutants.sh                 all of them
#   tests/mutants.sh NAME…           those with these names
set -uo pipefail
cd "$(dirname "$0")/.."
root=$PWD
cache=${PHASEGATE_CACHE:-$HOME/.cache/phasegate}
export PHASEGATE_CACHE=$cache RUST_BACKTRACE=0 CARGO_TERM_COLOR=never
# A folder of its own, so that no other build takes a program with a mistake in it for a current one.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$cache/target}/planted
copy=$CARGO_TARGET_DIR/checkout
mkdir -p "$CARGO_TARGET_DIR"
exec 9>"$CARGO_TARGET_DIR/lock"
flock --nonblock 9 || { echo "another tests/mutants.sh runs in $CARGO_TARGET_DIR"; exit 1; }
output=$(mktemp)
child=
end() {
  [ -n "$child" ] && kill "$child" 2>/dev/null && wait "$child"
  rm -rf "$copy" "$output"
}
trap end EXIT
trap 'exit 130' INT TERM
failed=0

header() { sed -n "s/^$2: //p" "$root/tests/planted/$1.patch" | head -n 1; }

# run TARGET FILTER…: builds and runs the tests of a target. A program that never ends counts as a failure.
run() {
  local target=$1 build result
  shift
  case $target in
    core) build="-p phasegate-core --lib" ;;
    proof) build="-p phasegate-proof --lib" ;;
    lib) build="-p phasegate --lib" ;;
    it) build="--workspace --test it" ;;
    *) echo "no such test target: $target" >"$output" && return 1 ;;
  esac
  # shellcheck disable=SC2086 # several arguments
  (cd "$copy" && exec timeout 900 cargo test --locked $build -- "$@") >"$output" 2>&1 &
  # In the background, so that Ctrl-C ends it at once.
  child=$!
  wait "$child"
  result=$?
  child=
  return "$result"
}

# row NAME RESULT SECONDS
row() { echo "| $1 | $2 | $3 s |"; }

fail() {
  failed=1
  row "$@"
}

# What the test binary said, for whoever looks for the cause.
quote() { grep -v '^ *\(Compiling\|Blocking\)' "$output" | tail -n 30 | sed 's/^/    /'; }

plant() {
  local name=$1 began=$SECONDS result target filter caught
  target=$(header "$name" Test)
  filter=$(header "$name" "Caught by")
  if ! git -C "$copy" apply "$root/tests/planted/$name.patch" 2>"$output"; then
    fail "$name" "DOES NOT APPLY" 0
    quote
    return
  fi
  run "$target" "$filter"
  result=$?
  caught=$(sed -n 's/^test \(.*\) \.\.\. FAILED$/\1/p' "$output" | head -n 1)
  if [ "$result" -eq 0 ]; then
    fail "$name" "NOT CAUGHT" $((SECONDS - began))
  elif grep -q '^error.*could not compile' "$output"; then
    fail "$name" "DOES NOT COMPILE" $((SECONDS - began))
    quote
  elif [ -z "$caught" ]; then
    fail "$name" "NO TEST FAILED, AND THE RUN DID" $((SECONDS - began))
    quote
  else
    row "$name" "$caught" $((SECONDS - began))
  fi
  git -C "$copy" apply --reverse "$root/tests/planted/$name.patch"
}

# Without a mistake, each filter selects a test, and all of them pass.
sound() {
  local target=$1 began=$SECONDS filters=() name filter
  shift
  for name in "$@"; do filters+=("$(header "$name" "Caught by")"); done
  if ! run "$target" "${filters[@]}"; then
    fail "(no mistake: $target)" "FAILED" $((SECONDS - began))
    quote
    return 1
  fi
  for name in "$@"; do
    filter=$(header "$name" "Caught by")
    if [ -z "$filter" ] || ! grep -qF "test $filter" "$output"; then
      fail "$name" "NO TEST IS CALLED $filter" 0
    fi
  done
  row "(no mistake: $target)" "$(grep -c '^test .* \.\.\. ok$' "$output") pass" $((SECONDS - began))
}

names=("$@")
if [ $# -eq 0 ]; then
  for patch in tests/planted/*.patch; do names+=("$(basename "$patch" .patch)"); done
fi
for name in "${names[@]}"; do
  [ -f "tests/planted/$name.patch" ] || { echo "there is no tests/planted/$name.patch"; exit 1; }
done

# The copy has the same path each time, so that dependencies are built once, and new times, so that nothing stale is used.
rm -rf "$copy"
mkdir -p "$copy"
git ls-files -z --cached --others --exclude-standard | tar --null --files-from=- --ignore-failed-read -c 2>/dev/null |
  tar -xm -C "$copy"
git -C "$copy" init --quiet

echo "| mistake | caught by | time |"
echo "|---|---|---|"
# By target, so that few crates are built between two mistakes.
for target in core proof lib it; do
  selected=()
  for name in "${names[@]}"; do
    [ "$(header "$name" Test)" = "$target" ] && selected+=("$name")
  done
  [ ${#selected[@]} -eq 0 ] && continue
  sound "$target" "${selected[@]}" || continue
  for name in "${selected[@]}"; do plant "$name"; done
done
for name in "${names[@]}"; do
  case $(header "$name" Test) in core | proof | lib | it) ;; *) fail "$name" "NAMES NO TEST TARGET" 0 ;; esac
done
exit "$failed"
