#!/usr/bin/env bash
# The long runs, and a table of them: what is shown, how, in how many cases, and the result. A failure does not keep
# the others from running.
#
#   make proof                       all of them
#   PROOF="crashes faults" make proof    those with these names
set -uo pipefail
cd "$(dirname "$0")/.."
cache=${PHASEGATE_CACHE:-$HOME/.cache/phasegate}
output=$(mktemp)
table=$(mktemp)
trap 'rm -f "$output" "$table"' EXIT
failed=0

# prove NAME PROPERTY METHOD CASES COMMAND…
prove() {
  local name=$1 property=$2 method=$3 cases=$4 began=$SECONDS result passed
  shift 4
  case " ${PROOF:-$name} " in *" $name "*) ;; *) return ;; esac
  echo "== $name: $property"
  if ! "$@" 2>&1 | tee "$output"; then
    result=FAILED
  else
    # A filter that selects no test is a failure. Fuzzing runs no tests.
    passed=$(sed -n 's/^test result: ok\. \([0-9]*\) passed.*/\1/p' "$output" | awk '{ sum += $1 } END { print sum + 0 }')
    if [ "$passed" -gt 0 ]; then result="$passed passed"; elif [ "$method" = fuzzing ]; then result=passed; else result="FAILED: no test ran"; fi
  fi
  case $result in FAILED*) failed=1 ;; esac
  echo "| $name | $property | $method | $cases | $((SECONDS - began)) s | $result |" >>"$table"
}

core() { env "$1" cargo test --locked -p phasegate-core --lib -- "${@:2}"; }
model() { env "$1" cargo test --locked -p phasegate-proof --lib -- --nocapture --test-threads=1; }
# The variables come first, then "--", then what the test binary is given.
promises() {
  local variables=()
  while [ "$1" != -- ]; do variables+=("$1") && shift; done
  env "${variables[@]}" cargo test --locked --workspace --test it -- "${@:2}"
}
older() {
  local program
  program=$(tests/last-release/build) && promises PHASEGATE_OLDER="$program" -- versions::an_upgrade
}

prove properties "a decision is the same each time, legal, bounded and soon silent" "random statuses, specs and worlds" \
  "100,000 each" core PROPTEST_CASES=100000 properties
prove model "I2, I3, I5 to I8 in every order of events" "model checking of decide" \
  "ten worlds, 10,000,000 states each at most" model PHASEGATE_STATES=10000000
prove agreement "the modelled API server answers as the real one" "random histories against both" \
  "40 histories of 120 events" promises PHASEGATE_HISTORIES=40 -- agreement::
prove sequences "what was requested last is reached, and nothing is left over" "random operations and kills" \
  "20 seeds of 300 operations" promises PHASEGATE_SEEDS=20 -- random::
prove crashes "a crash before or after any write leaves what no crash leaves" "SIGKILL at each write, and in the recovery" \
  "every write of twelve parts of a life" promises PHASEGATE_CRASHES=all -- crashes:: --test-threads=4
prove leaders "a leader that another overtakes at any write changes nothing when it resumes" "SIGSTOP at each write" \
  "every write of a start" promises PHASEGATE_LEADERS=all -- overtaken::
prove faults "a life ends the same under any fault on the way" "fault proxy" \
  "35 lives, 23 kinds" promises PHASEGATE_FAULTS=all -- faults::
prove kills "a burst starts each gateway once" "SIGKILL at random moments" \
  "10 kills, 300 gateways" promises PHASEGATE_KILLS=10 PHASEGATE_BURST=300 -- resilience::an_operator_killed
prove sizes "what a tenant writes has an end" "huge objects" \
  "260 gateways, 5,000 environments" \
  promises PHASEGATE_HUGE=260 PHASEGATE_ENVIRONMENTS=5000 PHASEGATE_METADATA=12 -- bounds::
prove waiters "waiting gateways do not multiply requests" "claims of one host" \
  "800 gateways" promises PHASEGATE_WAITERS=800 -- amplification::of_many
prove flood "a flood in one namespace delays no other" "flood" \
  "5,000 gateways" promises PHASEGATE_FLOOD=5000 -- fairness::a_flood
prove database "a database that dies costs no start and no document" "kill in a burst" \
  "300 documents, 30 s" promises PHASEGATE_BURST=300 PHASEGATE_OUTAGE=30 -- registry::outages::a_database_killed
prove documents "every document becomes a gateway" "burst" \
  "300 documents" promises PHASEGATE_BURST=300 -- registry::documents::many
prove races "a stop in the instant of a write is never lost" "races" \
  "200 races" promises PHASEGATE_RACES=200 -- registry::intent::a_stop_written
prove quiet "a quiet fleet writes nothing to the database" "requests counted" \
  "60 s" promises PHASEGATE_QUIET=60 -- registry::mirrors::a_fleet
prove events "every event arrives, in order for each gateway" "sink down, two kills" \
  "10,000 transitions" promises PHASEGATE_TRANSITIONS=10000 -- events::of_many
prove stamping "a policy that stamps every write causes no loop" "requests counted" \
  "180 s" promises PHASEGATE_STAMPED=180 -- stamping::
prove ferretdb "the registry works on an independent server" "FerretDB" \
  "the registry's tests" make ferretdb
prove older "an upgrade can be taken back" "the last release's operator" \
  "one upgrade and its way back" older
prove fuzz "what reads foreign bytes never panics, and keeps its properties" fuzzing \
  "a minute for each target" make fuzz

mkdir -p "$cache"
{
  echo "| name | property | method | cases | time | result |"
  echo "|---|---|---|---|---|---|"
  cat "$table"
} | tee "$cache/proof.md"
exit "$failed"
