# Sourced: steps that end together with the script. A shell handles a signal only after its foreground command has
# ended. A long step therefore runs in the background, in its own process group, and the shell waits for it.

steps_group=

step() { # a command or a function, without stdin
  local status=0
  set -m
  "$@" </dev/null &
  steps_group=$!
  set +m
  wait "$steps_group" || status=$?
  # Processes that the step left running are ended.
  end_step
  return "$status"
}

# Ends all processes of the current step.
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

# Calls the named clean-up function at every exit of the script. Signals do not interrupt it.
clean_with() {
  # shellcheck disable=SC2064
  trap "steps_status=\$?; trap - EXIT; trap '' INT TERM HUP; end_step; $1; exit \"\$steps_status\"" EXIT
  trap 'exit 129' HUP
  trap 'exit 130' INT
  trap 'exit 143' TERM
}
