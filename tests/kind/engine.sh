# Sourced: a docker engine. A running engine is used unchanged. Otherwise root on Debian installs one and starts it
# for this run, with its images in the cache. engine_stop stops it and restores the machine's network
# configuration.

engine=
engine_pid=
engine_saved=

# Installs missing programs, each written as program:package. Signals do not interrupt the installation.
packages() { # log, program:package…
  local log=$1 missing= tool
  shift
  for tool; do
    command -v "${tool%%:*}" >/dev/null || missing="$missing ${tool##*:}"
  done
  [ -n "$missing" ] || return 0
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "kind: missing here, and not to be installed but as root on Debian:$missing" >&2
    return 1
  fi
  echo "kind: installing$missing …" >&2
  # shellcheck disable=SC2086
  setsid -w sh -c 'apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"' - $missing >"$log" 2>&1 ||
    { tail -20 "$log" >&2; return 1; }
}

engine_start() { # the cache
  ! docker info >/dev/null 2>&1 || return 0
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "the docker engine does not answer: install it (https://docs.docker.com/engine/install) and start it" >&2
    return 1
  fi
  packages "$1/apt.log" dockerd:docker.io iptables:iptables || return 1
  # The package starts the engine on a machine with a service manager.
  ! docker info >/dev/null 2>&1 || return 0
  local log=$1/engine/log
  mkdir -p "$1/engine"
  echo "{}" >"$1/engine/none.json" # instead of the configuration of another engine on this machine
  local runtime=()
  # A privileged container requests every capability. A capability that the machine lacks is removed from the request.
  if ! capsh_has_sys_resource; then
    cat >"$1/engine/runc" <<'RUNC'
#!/bin/sh
previous= file=
for argument; do
  case $previous in --bundle | -b) file=$argument/config.json ;; --process | -p) file=$argument ;; esac
  previous=$argument
done
[ -z "$file" ] || sed -i 's/"CAP_SYS_RESOURCE",//g; s/,"CAP_SYS_RESOURCE"//g' "$file"
exec runc "$@"
RUNC
    chmod +x "$1/engine/runc"
    runtime=(--add-runtime "bounded=$1/engine/runc" --default-runtime bounded)
  fi
  # The saved state is complete before engine_saved refers to it, so that engine_stop restores the original state.
  local saved
  saved=$(mktemp -d)
  iptables-save >"$saved/iptables"
  ip6tables-save >"$saved/ip6tables" || true
  for setting in ipv4/ip_forward ipv6/conf/all/forwarding ipv6/conf/default/forwarding; do
    [ ! -e "/proc/sys/net/$setting" ] || echo "/proc/sys/net/$setting $(cat "/proc/sys/net/$setting")"
  done >"$saved/settings"
  ip -o link show type bridge | cut -d: -f2 >"$saved/bridges"
  export DOCKER_HOST=unix://$1/engine/docker.sock
  engine=$1/engine
  engine_saved=$saved
  # The engine must not inherit 7, 8 and 9, because the scripts that source this file use them for locks and pipes.
  setsid dockerd --host "$DOCKER_HOST" --data-root "$1/engine-data" --exec-root "$engine/exec" --pidfile "$engine/pid" \
    --config-file "$engine/none.json" "${runtime[@]}" </dev/null >"$log" 2>&1 7>&- 8>&- 9>&- &
  engine_pid=$!
  for _ in $(seq 60); do
    ! docker info >/dev/null 2>&1 || return 0
    kill -0 "$engine_pid" 2>/dev/null || break
    sleep 1
  done
  echo "the docker engine does not start:" >&2
  tail -20 "$log" >&2
  return 1
}

capsh_has_sys_resource() { # bit 24 of the bounding set
  local bounding
  bounding=$(sed -n 's/^CapBnd:\t//p' /proc/self/status)
  [ $((0x$bounding >> 24 & 1)) = 1 ]
}

engine_stop() {
  [ -n "$engine_saved" ] || return 0
  if [ -n "$engine_pid" ]; then
    # This run started the engine, so that all its containers belong to this run.
    timeout 60 docker ps -aq 2>/dev/null | xargs -r timeout 120 docker rm -f -v >/dev/null 2>&1 || true
    timeout 20 docker network rm kind >/dev/null 2>&1 || true
    kill "$engine_pid" 2>/dev/null || true
    for _ in $(seq 300); do
      kill -0 "$engine_pid" 2>/dev/null || break
      sleep 0.2
    done
    kill -KILL "$engine_pid" "$(cat "$engine/exec/containerd/containerd.pid" 2>/dev/null)" 2>/dev/null || true
    wait "$engine_pid" 2>/dev/null || true
  fi
  for mount in $(cut -d' ' -f2 /proc/mounts | grep "^$engine/" | sort -r); do
    umount -l "$mount" || true
  done
  for bridge in $(ip -o link show type bridge | sed -n 's/^[0-9]*: \(docker0\|br-[0-9a-f]\{12\}\):.*/\1/p'); do
    grep -qw "$bridge" "$engine_saved/bridges" || ip link delete "$bridge" || true
  done
  for family in iptables ip6tables; do
    # The saved state lacks tables that are new, so that they are emptied here.
    for table in $("$family-save" 2>/dev/null | sed -n 's/^\*//p'); do
      grep -qx "\*$table" "$engine_saved/$family" && continue
      for chain in $("$family" -t "$table" -S | sed -n 's/^-P \([A-Z]*\) .*/\1/p'); do "$family" -t "$table" -P "$chain" ACCEPT; done
      "$family" -t "$table" -F && "$family" -t "$table" -X
    done
    "$family-restore" <"$engine_saved/$family" || true
  done
  while read -r setting value; do echo "$value" >"$setting" || true; done <"$engine_saved/settings"
  rm -rf "$engine_saved"
  engine_saved=
}
