#!/usr/bin/env bash
# The operator from an image through deploy/base on a kind cluster with real containers, and integration tests there.
#
#   make e2e-kind                            makes a kind cluster of two nodes and deletes it
#   KIND_CLUSTER=name make e2e-kind          uses that one, and removes what was created in it
#   E2E_REAL="lossless:: causes::" make …    those tests with real containers (tests/kind/suite) instead of all; "-" for none
#   E2E_TESTS="starting:: names::" make …    those integration tests instead of the sample ("" for all); "-" for none
#
# Without an engine (as root on Debian) one is installed and runs as long as this does; without a registry the
# node's image is built from Go modules and Debian's packages, once. However it ends, what was made is removed.
set -euo pipefail
cd "$(dirname "$0")/.."
source tests/kind/steps.sh
source tests/kind/engine.sh

need() {
  command -v "$1" >/dev/null && return
  echo "$1 is missing: $2" >&2
  exit 1
}
need cargo "curl https://sh.rustup.rs -sSf | sh"
need go "https://go.dev/dl"
need java "apt-get install openjdk-17-jre-headless"

export PHASEGATE_CACHE=${PHASEGATE_CACHE:-$HOME/.cache/phasegate}
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PHASEGATE_CACHE/target}
mkdir -p "$PHASEGATE_CACHE"
cluster=${KIND_CLUSTER:-phasegate-e2e-$$}
operator=phasegate:e2e-$$
gateway=phasegate-gateway:e2e-$$
ingress=phasegate-ingress:e2e-$$
images=("$operator" "$gateway" "$gateway-next" "$gateway-root" "$ingress")
real=${E2E_REAL-}
tests=${E2E_TESTS-starting::a_gateway names:: environments:: registry::documents stopping:: deletion::}
work=$(mktemp -d)
# What those leave who are ended is removed with the rest.
export TMPDIR=$work
export KUBECONFIG=$work/kubeconfig
# Whoever runs for the tests holds this lock, those who remove what the tests made included.
exec 7>"$work/running"
flock 7
made=
network=
loaded=
installed=
cordoned=
simulator=

say() { echo "e2e-kind: [$((SECONDS / 60)):$(printf %02d $((SECONDS % 60)))] $*"; }

nodes() { kind get nodes --name "$cluster" 2>/dev/null; }

create_cluster() {
  # Not the file that is used: kind empties it when it deletes the cluster, and others still work then.
  KUBECONFIG=$work/made kind create cluster --name "$cluster" --image "$KIND_IMAGE" --wait 120s --config - <<'CONFIG'
kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
nodes: [{ role: control-plane }, { role: worker }]
CONFIG
  kind get kubeconfig --name "$cluster" >"$KUBECONFIG"
  kubectl taint nodes --all node-role.kubernetes.io/control-plane- >/dev/null || true
  kubectl wait --for=condition=Ready node --all --timeout=120s >/dev/null
}

# Pods of different nodes reach each other. Kind's own image has a program for it, which no module has.
route_pods() {
  local each='{range .items[*]}{.metadata.name} {.spec.podCIDR} {.status.addresses[?(@.type=="InternalIP")].address}{"\n"}{end}'
  local node other pods address
  for node in $(nodes); do
    while read -r other pods address _; do
      [ "$node" = "$other" ] || docker exec --privileged "$node" ip route replace "$pods" via "$address" </dev/null
    done < <(kubectl get nodes -o "jsonpath=$each")
  done
}

make_images() {
  cargo build --locked --bin phasegate
  tests/kind/operator-image.sh "$CARGO_TARGET_DIR/debug/phasegate" "$operator"
  tests/kind/gateway/image.sh "$gateway"
  tests/kind/ingress/image.sh "$ingress"
}

install() {
  kubectl apply --server-side -f crds
  kubectl wait --for=condition=Established --timeout=60s -f crds
  kubectl apply -k "$work/deploy/base"
  kubectl apply -f "$work/skipper.yaml"
  kubectl rollout status deployment/phasegate -n phasegate-system --timeout=180s
  kubectl rollout status deployment/skipper -n phasegate-ingress --timeout=180s
}

uninstall() {
  timeout 120 kubectl delete -f "$work/skipper.yaml" --ignore-not-found
  timeout 120 kubectl delete -k "$work/deploy/base" --ignore-not-found
  timeout 60 kubectl delete -f crds --ignore-not-found
}

# As promised: real containers, real requests.
test_real() {
  local skip=()
  if [ "$(nodes | wc -l)" -lt 2 ]; then
    say "$cluster has one node: what becomes of gateways when a node goes is not tested"
    skip=(--skip nodes::)
  fi
  # shellcheck disable=SC2086
  USE_EXISTING_CLUSTER=true E2E_GATEWAY=$gateway cargo test --locked --test kind -- $real "${skip[@]}" --test-threads=4 --show-output
}

# For the integration tests a node is simulated, whose images fail as they are told to, and kind's own take no pods.
simulate() {
  mkfifo "$work/open"
  (cd tests/cluster && CGO_ENABLED=0 go build -o "$work/cluster" .)
  "$work/cluster" node --kubeconfig "$KUBECONFIG" <"$work/open" >"$work/node.log" 2>&1 7>&- &
  simulator=$!
  # Not for the tests: who removes what they made would keep it open.
  exec 9>"$work/open"
  until grep -q "is ready" "$work/node.log"; do
    kill -0 "$simulator" 2>/dev/null || { cat "$work/node.log" >&2; exit 1; }
    sleep 1
  done
  cordoned=$(nodes)
  for node in $cordoned; do kubectl cordon "$node"; done
}

stop_simulating() {
  for node in $cordoned; do kubectl uncordon "$node"; done
  cordoned=
  [ -n "$simulator" ] || return 0
  exec 9>&-
  wait "$simulator"
  simulator=
}

test_simulated() {
  # shellcheck disable=SC2086
  USE_EXISTING_CLUSTER=true cargo test --locked --test it -- $tests --test-threads=4 9>&-
}

# Those who remove what the tests created work on for a moment after the tests have ended.
tests_are_removed() { # within so many seconds
  exec 7>&-
  if ! flock --timeout "$1" "$work/running" true; then
    find /proc/[0-9]*/fd -lname "$work/running" 2>/dev/null | cut -d/ -f3 | sort -u | xargs -r kill -KILL || true
    say "what the tests made was not removed within $1 seconds"
    return 1
  fi
  exec 7>"$work/running"
  flock 7
}

clean() {
  [ "$steps_status" = 0 ] || say "not as expected ($steps_status); removing what was made"
  if [ -n "$made" ]; then
    exec 9>&- || true
    # A container that was asked for a moment ago appears after the others were deleted. With them goes what the tests
    # made; who removes it would ask a cluster that is gone, for ever.
    for _ in 1 2 3; do
      KUBECONFIG=$work/made timeout 180 kind delete cluster --name "$cluster" || true
      [ -n "$(nodes)" ] || break
    done
    [ -z "$network" ] || docker network rm kind >/dev/null 2>&1 || true
    [ -z "$simulator" ] || wait "$simulator" || true
    tests_are_removed 5 >/dev/null || true
  else
    stop_simulating || true
    tests_are_removed 180 || true
    [ -z "$installed" ] || uninstall || true
    for node in $loaded; do docker exec "$node" crictl --timeout 60s rmi "${images[@]}" >/dev/null || true; done
  fi
  docker image rm "${images[@]}" >/dev/null 2>&1 || true
  engine_stop
  rm -rf "$work"
}
clean_with clean

engine_start "$PHASEGATE_CACHE"
if [ -z "${KIND_CLUSTER:-}" ]; then
  # Kind's own image where a registry is there, else ours.
  if [ -z "${KIND_IMAGE:-}" ] && command -v kind >/dev/null && step timeout --foreground 600 docker pull -q kindest/node:v1.36.3 2>/dev/null; then
    KIND_IMAGE=kindest/node:v1.36.3
  fi
  if [ -z "${KIND_IMAGE:-}" ]; then
    step tests/kind/image.sh >"$work/built"
    read -r KIND_IMAGE programs <"$work/built"
    export PATH=$programs:$PATH
  fi
fi
need kind "go install sigs.k8s.io/kind@latest"
need kubectl "https://kubernetes.io/docs/tasks/tools/"
if [ -z "${KIND_CLUSTER:-}" ]; then
  [ -n "$(docker network ls -q --filter name=^kind$)" ] || network=ours
  made=yes
  step create_cluster
  [ -z "${programs:-}" ] || step route_pods
else
  kind get kubeconfig --name "$cluster" >"$KUBECONFIG"
fi
if kubectl get namespace phasegate-system >/dev/null 2>&1 || kubectl get crd apigateways.phasegate.dev >/dev/null 2>&1; then
  echo "phasegate is installed in $cluster already: uninstall it, or name another cluster" >&2
  exit 1
fi
say "the nodes of $cluster are ready"

# 1. The operator runs in the cluster, from its image, and kind's nodes run real gateways.
if [ "$real" != - ]; then
  step make_images
  loaded=$(nodes)
  step kind load docker-image "${images[@]}" --name "$cluster"
  cp -r deploy "$work/deploy"
  sed -i.bak -e "s|newName: .*|newName: ${operator%%:*}|" -e "s|newTag: .*|newTag: ${operator#*:}|" "$work/deploy/base/kustomization.yaml"
  sed "s|image: skipper|image: $ingress|" tests/kind/ingress/skipper.yaml >"$work/skipper.yaml"
  installed=yes
  step install
  say "the operator and an ingress controller run in $cluster"
  step test_real
  tests_are_removed 180
  step uninstall
  installed=
  say "the operator ran on $cluster from its image, and is removed"
fi

# 2. The operator runs beside the cluster, as its ServiceAccount, and the node is simulated.
if [ "$tests" != - ]; then
  simulate
  step test_simulated
  stop_simulating
  tests_are_removed 180
  say "the integration tests ran on $cluster"
fi
say "as expected"
