#!/usr/bin/env bash
# The integration tests on a kind cluster, and the operator from its image through deploy/base.
#
#   make e2e-kind                    makes a kind cluster and deletes it
#   KIND_CLUSTER=name make e2e-kind  uses that one, and removes what was created in it
set -euo pipefail
cd "$(dirname "$0")/.."

need() {
  command -v "$1" >/dev/null && return
  echo "$1 is missing: $2" >&2
  exit 1
}
need docker "curl -fsSL https://get.docker.com | sh"
need kind "go install sigs.k8s.io/kind@latest"
need kubectl "https://kubernetes.io/docs/tasks/tools/"
need cargo "curl https://sh.rustup.rs -sSf | sh"
need go "https://go.dev/dl"
need java "apt-get install openjdk-17-jre-headless"
docker info >/dev/null 2>&1 || { echo "the docker engine does not answer: sudo systemctl start docker" >&2; exit 1; }

cluster=${KIND_CLUSTER:-phasegate-e2e-$$}
image=phasegate:e2e-$$
work=$(mktemp -d)
export KUBECONFIG=$work/kubeconfig
made=
installed=
cordoned=
simulator=

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

# Whatever happens, what was made is removed, and nothing else.
clean() {
  status=$?
  trap - EXIT
  stop_simulating || true
  docker image rm "$image" >/dev/null 2>&1 || true
  if [ -n "$made" ]; then
    kind delete cluster --name "$cluster"
  elif [ -n "$installed" ]; then
    kubectl delete apigateways --all -n phasegate-e2e --ignore-not-found || true
    kubectl delete namespace phasegate-e2e --ignore-not-found || true
    kubectl delete -k "$work/deploy/base" --ignore-not-found || true
    kubectl delete -f crds --ignore-not-found || true
  fi
  rm -rf "$work"
  exit "$status"
}
trap clean EXIT
trap 'exit 130' INT TERM

if [ -z "${KIND_CLUSTER:-}" ]; then
  made=yes
  kind create cluster --name "$cluster" --wait 120s
fi
kind get kubeconfig --name "$cluster" >"$KUBECONFIG"

if kubectl get namespace phasegate-system >/dev/null 2>&1 || kubectl get crd apigateways.phasegate.dev >/dev/null 2>&1; then
  echo "phasegate is installed in $cluster already: uninstall it, or name another cluster" >&2
  exit 1
fi

# 1. The operator runs beside the cluster, as its ServiceAccount.
simulate
USE_EXISTING_CLUSTER=true cargo test --locked --test it -- --test-threads=4
stop_simulating
# What the tests created is removed when they have ended, a moment later.
kubectl wait --for=delete crd/apigateways.phasegate.dev crd/environments.phasegate.dev --timeout=180s

# 2. The operator runs in the cluster, from its image, and kind's node runs a real gateway.
docker build -f deploy/Dockerfile -t "$image" .
kind load docker-image "$image" --name "$cluster"
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
GATEWAY
kubectl wait --for=condition=Available --timeout=300s -n phasegate-e2e apigateway/plain
kubectl get apigateways -n phasegate-e2e
echo "as expected: the integration tests pass on $cluster, and the operator runs there from its image"
