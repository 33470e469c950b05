# Sourced: steps that end together with the script. A shell acts upon a signal only once the command that it waits for
# has ended; a step that takes long is run in the background therefore, in a process group of its own, and waited for.

steps_group=

step() { # a command or a function, which gets no input
  local status=0
  set -m
  "$@" </dev/null &
  steps_group=$!
  set +m
  wait "$steps_group" || status=$?
  # What a step leaves running, nobody waits for.
  end_step
  return "$status"
}

# Ends what is under way, all of it.
end_step() {
  [ -n "$steps_group" ] || return 0
  local signal
  for signal in TERM KILL; do
    kill "-$signal" -- "-$steps_group" 2>/dev/null || break
    for _ in $(seq 150); do
      kill -0 -- "-$steps_group" 2>/dev/null || break 2
      sleep 0.1
    done
  done
  wait "$steps_group" 2>/dev/null || true
  steps_group=
}

# Whatever happens: what was made is removed, by the function that is named, which is not interrupted.
clean_with() {
  # shellcheck disable=SC2064
  trap "steps_status=\$?; trap - EXIT; trap '' INT TERM HUP; end_step; $1; exit \"\$steps_status\"" EXIT
  trap 'exit 129' HUP
  trap 'exit 130' INT
  trap 'exit 143' TERM
}
