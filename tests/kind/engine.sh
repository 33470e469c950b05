# Sourced: a docker engine. One that answers is used as it is. Else, as root on Debian, one is installed and
# started for this run, with its images in the cache, and stopped by engine_stop, which leaves the machine's
# network as it was.

engine_start() {
  if docker info >/dev/null 2>&1; then
    return 0
  fi
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "the docker engine does not answer: install it (https://docs.docker.com/engine/install) and start it" >&2
    return 1
  fi
  local missing=
  for tool in dockerd:docker.io iptables:iptables debootstrap:debootstrap jq:jq; do
    command -v "${tool%%:*}" >/dev/null || missing="$missing ${tool##*:}"
  done
  if [ -n "$missing" ]; then
    echo "kind: installing$missing …" >&2
    # shellcheck disable=SC2086
    { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing; } >"$1/apt.log" 2>&1 ||
      { tail -20 "$1/apt.log" >&2; return 1; }
  fi
  engine=$1/engine
  mkdir -p "$engine"
  echo "{}" >"$engine/none.json" # not the configuration of another engine on this machine
  # "Privileged" means every capability. Where the machine lacks one, it means every other.
  if ! capsh_has_sys_resource; then
    cat >"$engine/runc" <<'RUNC'
#!/bin/sh
previous= file=
for argument; do
  case $previous in --bundle | -b) file=$argument/config.json ;; --process | -p) file=$argument ;; esac
  previous=$argument
done
[ -z "$file" ] || sed -i 's/"CAP_SYS_RESOURCE",//g; s/,"CAP_SYS_RESOURCE"//g' "$file"
exec runc "$@"
RUNC
    chmod +x "$engine/runc"
    set -- "$1" --add-runtime "bounded=$engine/runc" --default-runtime bounded
  fi
  engine_rules=$(mktemp -d)
  iptables-save >"$engine_rules/iptables"
  ip6tables-save >"$engine_rules/ip6tables" || true
  engine_forward=$(cat /proc/sys/net/ipv4/ip_forward)
  export DOCKER_HOST=unix://$engine/docker.sock
  setsid dockerd --host "$DOCKER_HOST" --data-root "$1/engine-data" --exec-root "$engine/exec" --pidfile "$engine/pid" \
    --config-file "$engine/none.json" "${@:2}" >"$engine/log" 2>&1 8>&- 9>&- &
  for _ in $(seq 60); do
    docker info >/dev/null 2>&1 && return 0
    kill -0 $! 2>/dev/null || break
    sleep 1
  done
  echo "the docker engine does not start:" >&2
  tail -20 "$engine/log" >&2
  return 1
}

capsh_has_sys_resource() { # bit 24 of the bounding set
  local bounding
  bounding=$(sed -n 's/^CapBnd:\t//p' /proc/self/status)
  [ $((0x$bounding >> 24 & 1)) = 1 ]
}

engine_stop() {
  [ -n "${engine_rules:-}" ] || return 0
  local pid
  pid=$(cat "$engine/pid" 2>/dev/null || true)
  if [ -n "$pid" ]; then
    kill "$pid" 2>/dev/null || true
    while kill -0 "$pid" 2>/dev/null; do sleep 0.2; done
  fi
  for bridge in $(ip -o link show type bridge | sed -n 's/^[0-9]*: \(docker0\|br-[0-9a-f]\{12\}\):.*/\1/p'); do
    ip link delete "$bridge" || true
  done
  for family in iptables ip6tables; do
    # A table that was not there before is not in what was saved: it is emptied.
    for table in $("$family-save" 2>/dev/null | sed -n 's/^\*//p'); do
      grep -qx "\*$table" "$engine_rules/$family" && continue
      for chain in $("$family" -t "$table" -S | sed -n 's/^-P \([A-Z]*\) .*/\1/p'); do "$family" -t "$table" -P "$chain" ACCEPT; done
      "$family" -t "$table" -F && "$family" -t "$table" -X
    done
    "$family-restore" <"$engine_rules/$family" || true
  done
  echo "$engine_forward" >/proc/sys/net/ipv4/ip_forward || true
  rm -rf "$engine_rules"
  engine_rules=
}
