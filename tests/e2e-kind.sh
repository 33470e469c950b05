#!/usr/bin/env bash
# The operator from an image through deploy/base on a kind cluster with real containers, and integration tests there.
#
#   make e2e-kind                            makes a kind cluster and deletes it
#   KIND_CLUSTER=name make e2e-kind          uses that one, and removes what was created in it
#   E2E_TESTS="starting:: names::" make …    those integration tests instead of the sample ("" for all)
#
# Without an engine (as root on Debian) one is installed and runs as long as this does; without a registry the
# node's image is built from Go modules and Debian's packages, once.
set -euo pipefail
cd "$(dirname "$0")/.."
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
image=phasegate:e2e-$$
gateway=nginxinc/nginx-unprivileged:1.29
tests=${E2E_TESTS-starting::a_gateway names:: environments:: registry::documents stopping:: deletion::}
work=$(mktemp -d)
export KUBECONFIG=$work/kubeconfig
made=
installed=
cordoned=
simulator=

say() { echo "e2e-kind: $*"; }

# For the tests a node is simulated, whose images fail as they are told to, and kind's own takes
# no pods.
simulate() {
  mkfifo "$work/open"
  (cd tests/cluster && CGO_ENABLED=0 go build -o "$work/cluster" .)
  "$work/cluster" node --kubeconfig "$KUBECONFIG" <"$work/open" >"$work/node.log" 2>&1 &
  simulator=$!
  exec 9>"$work/open"
  until grep -q "is ready" "$work/node.log"; do
    kill -0 "$simulator" 2>/dev/null || { cat "$work/node.log" >&2; exit 1; }
    sleep 1
  done
  cordoned=$(kind get nodes --name "$cluster")
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

# Those who remove what the tests created work on for a moment after the tests have ended.
tests_are_removed() {
  timeout 180 kubectl wait --for=delete crd/apigateways.phasegate.dev crd/environments.phasegate.dev --timeout=170s
}

# Whatever happens, what was made is removed, and nothing else.
clean() {
  status=$?
  trap - EXIT
  trap '' INT TERM
  [ "$status" = 0 ] || say "failed; removing what was made"
  if [ -n "$made" ]; then
    exec 9>&- || true
    [ -z "$simulator" ] || kill "$simulator" 2>/dev/null || true
    kind delete cluster --name "$cluster" || true
  else
    stop_simulating || true
    if [ -n "$installed" ]; then
      timeout 120 kubectl delete namespace phasegate-e2e --ignore-not-found || true
      timeout 60 kubectl delete -k "$work/deploy/base" --ignore-not-found || true
      timeout 60 kubectl delete -f crds --ignore-not-found || true
    elif [ "$status" != 0 ]; then
      tests_are_removed || true
    fi
  fi
  docker image rm "$image" "$gateway-e2e" >/dev/null 2>&1 || true
  engine_stop
  rm -rf "$work"
  exit "$status"
}
trap clean EXIT
trap 'exit 130' INT TERM

engine_start "$PHASEGATE_CACHE"
if [ -z "${KIND_CLUSTER:-}" ]; then
  # Kind's own image where a registry is there, else ours.
  if [ -z "${KIND_IMAGE:-}" ] && ! { command -v kind >/dev/null && timeout 600 docker pull -q kindest/node:v1.36.3 2>/dev/null; }; then
    built=$(tests/kind/image.sh)
    KIND_IMAGE=${built% *}
    export PATH=${built#* }:$PATH
  fi
  made=yes
  kind create cluster --name "$cluster" --image "${KIND_IMAGE:-kindest/node:v1.36.3}" --wait 120s
fi
need kind "go install sigs.k8s.io/kind@latest"
need kubectl "https://kubernetes.io/docs/tasks/tools/"
kind get kubeconfig --name "$cluster" >"$KUBECONFIG"

if kubectl get namespace phasegate-system >/dev/null 2>&1 || kubectl get crd apigateways.phasegate.dev >/dev/null 2>&1; then
  echo "phasegate is installed in $cluster already: uninstall it, or name another cluster" >&2
  exit 1
fi

# 1. The operator runs in the cluster, from its image, and kind's node runs a real gateway.
cargo build --locked --bin phasegate
tests/kind/operator-image.sh "$CARGO_TARGET_DIR/debug/phasegate" "$image"
tests/kind/gateway/image.sh "$gateway"
kind load docker-image "$image" "$gateway" --name "$cluster"
cp -r deploy "$work/deploy"
sed -i.bak -e "s|newName: .*|newName: phasegate|" -e "s|newTag: .*|newTag: ${image#*:}|" "$work/deploy/base/kustomization.yaml"
installed=yes
kubectl apply --server-side -f crds
kubectl wait --for=condition=Established --timeout=60s -f crds
kubectl apply -k "$work/deploy/base"
kubectl rollout status deployment/phasegate -n phasegate-system --timeout=180s
kubectl create namespace phasegate-e2e
kubectl apply -n phasegate-e2e -f - <<'GATEWAY'
apiVersion: phasegate.dev/v1alpha1
kind: ApiGateway
metadata:
  name: plain
spec:
  image: nginxinc/nginx-unprivileged:1.29
  env:
    - name: ECHO_SAYS
      value: hello
GATEWAY
kubectl wait --for=condition=Available --timeout=120s -n phasegate-e2e apigateway/plain
answer=$(kubectl get --raw /api/v1/namespaces/phasegate-e2e/services/plain:http/proxy/)
case "$answer" in
*'"ECHO_SAYS":"hello"'*) say "the gateway answers through its Service: $answer" ;;
*) say "the gateway does not answer through its Service: $answer"; exit 1 ;;
esac
kubectl get apigateways -n phasegate-e2e
kubectl delete apigateway plain -n phasegate-e2e --timeout=60s
left=$(kubectl get deployments,services,ingresses,poddisruptionbudgets,pods -n phasegate-e2e -o name | grep -v service/kubernetes || true)
until [ -z "$(kubectl get pods -n phasegate-e2e -o name)" ]; do
  [ "$SECONDS" -lt 3600 ] || exit 1
  sleep 1
done
say "after the deletion there was left for a moment: ${left:-nothing}"
kubectl delete namespace phasegate-e2e --timeout=120s
kubectl delete -k "$work/deploy/base" --timeout=120s
kubectl delete -f crds --timeout=60s
installed=

# 2. The operator runs beside the cluster, as its ServiceAccount, and the node is simulated.
simulate
# The descriptor of the node's pipe is not for the tests: who removes what they made would keep it open.
# shellcheck disable=SC2086
USE_EXISTING_CLUSTER=true cargo test --locked --test it -- $tests --test-threads=4 9>&-
stop_simulating
tests_are_removed
say "as expected: the operator runs on $cluster from its image, and the integration tests pass there"
