#!/usr/bin/env bash
# Tests on a kind cluster with real containers: the operator from an image through deploy/base, the chart with the
# commands of the book, and integration tests.
#
#   make e2e-kind                            creates a kind cluster of two nodes and deletes it
#   KIND_CLUSTER=name make e2e-kind          uses an existing cluster, and removes the created objects from it
#   E2E_REAL="lossless:: causes::" make …    selects tests with real containers (tests/kind/suite); "-" for none.
#                                            Default: all
#   E2E_TESTS="starting:: names::" make …    selects integration tests; "" for all, "-" for none. Default: a sample
#
# Without a container engine, the script installs one (as root on Debian) and stops it at its end. Without a registry,
# it builds the node image once from Go modules and Debian packages. It always removes everything that it created, also
# after a failure.
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
contour=phasegate-contour:e2e-$$
images=("$operator" "$gateway" "$gateway-next" "$gateway-root" "$ingress")
real=${E2E_REAL-}
# Only the tests of routes need the second controller. Its build takes minutes.
routes=
case " ${real:-routes} " in *" routes"*) routes=yes images+=("$contour") ;; esac
tests=${E2E_TESTS-starting::a_gateway names:: environments:: registry::documents stopping:: deletion::}
work=$(mktemp -d)
# Temporary files of killed processes are removed with this folder.
export TMPDIR=$work
export KUBECONFIG=$work/kubeconfig
# All processes of the tests inherit this lock, including those that remove the created objects.
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
  # Kind empties this kubeconfig when it deletes the cluster. Other processes still use their copy at that time.
  KUBECONFIG=$work/made kind create cluster --name "$cluster" --image "$KIND_IMAGE" --wait 120s --config - <<'CONFIG'
kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
nodes: [{ role: control-plane }, { role: worker }]
CONFIG
  kind get kubeconfig --name "$cluster" >"$KUBECONFIG"
  kubectl taint nodes --all node-role.kubernetes.io/control-plane- >/dev/null || true
  kubectl wait --for=condition=Ready node --all --timeout=120s >/dev/null
}

# Adds routes between the pods of different nodes. Kind's own image has a program for this, which no Go module contains.
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
  [ -z "$routes" ] || tests/kind/contour/image.sh "$contour"
}

# The path of custom resource definitions in Contour's Go module, which also contains those of the Gateway API.
contour_definitions() { (cd tests/kind/contour && GOWORK=off go list -m -f "{{.Dir}}/examples/$1" github.com/projectcontour/contour); }

install() {
  kubectl apply --server-side -f crds
  kubectl wait --for=condition=Established --timeout=60s -f crds
  kubectl apply -k "$work/deploy/base"
  kubectl apply -f "$work/skipper.yaml"
  if [ -n "$routes" ]; then
    kubectl apply --server-side -f "$(contour_definitions gateway/00-crds.yaml)" -f "$(contour_definitions contour/01-crds.yaml)" >/dev/null
    kubectl wait --for=condition=Established --timeout=60s crd gateways.gateway.networking.k8s.io httproutes.gateway.networking.k8s.io >/dev/null
    kubectl apply -f "$work/contour.yaml"
  fi
  kubectl rollout status deployment/phasegate -n phasegate-system --timeout=180s
  kubectl rollout status deployment/skipper -n phasegate-ingress --timeout=180s
  [ -z "$routes" ] || kubectl rollout status deployment/contour -n phasegate-contour --timeout=180s
}

uninstall() {
  # The test of the chart runs without the Gateway API.
  if [ -n "$routes" ] && kubectl get crd gateways.gateway.networking.k8s.io >/dev/null 2>&1; then
    timeout 120 kubectl delete -f "$work/contour.yaml" --ignore-not-found
    timeout 120 kubectl delete -f "$(contour_definitions contour/01-crds.yaml)" -f "$(contour_definitions gateway/00-crds.yaml)" --ignore-not-found >/dev/null
  fi
  timeout 120 kubectl delete -f "$work/skipper.yaml" --ignore-not-found
  timeout 120 kubectl delete -k "$work/deploy/base" --ignore-not-found
  timeout 60 kubectl delete -f crds --ignore-not-found
}

# The book's helm command, with the image that is loaded on the nodes.
helm_of_book() { # install, upgrade or uninstall
  sed -n "/^## With Helm\$/,/^## /s/^helm $1 /&/p" docs/src/how-to/install.md |
    sed "s|image.repository=YOUR_REGISTRY/phasegate|image.repository=${operator%%:*},image.tag=${operator#*:}|"
}

# Installs, upgrades and uninstalls a release. The custom resource definitions and the available gateways stay.
test_chart() {
  mkdir "$work/programs"
  ln -s "$(tests/helm/build)" "$work/programs/helm"
  export PATH=$work/programs:$PATH HELM_CACHE_HOME=$work/helm HELM_CONFIG_HOME=$work/helm HELM_DATA_HOME=$work/helm
  local command
  for command in install upgrade; do
    eval "$(helm_of_book "$command")"
    kubectl rollout status deployment/phasegate -n phasegate-system --timeout=180s
    kubectl apply -f - <<GATEWAY
apiVersion: phasegate.dev/v1alpha1
kind: ApiGateway
metadata: { name: $command, namespace: default }
spec: { image: "$gateway" }
GATEWAY
    kubectl wait --for=condition=Available "agw/$command" -n default --timeout=120s
  done
  [ "$(kubectl get deployment/phasegate -n phasegate-system -o 'jsonpath={.spec.replicas}')" = 3 ]
  eval "$(helm_of_book uninstall)"
  kubectl get crd apigateways.phasegate.dev environments.phasegate.dev
  kubectl wait --for=condition=Available agw/install agw/upgrade deployment/install deployment/upgrade -n default --timeout=10s
  kubectl delete agw install upgrade -n default
}

# The tests with real containers and real requests.
test_real() {
  local skip=()
  if [ "$(nodes | wc -l)" -lt 2 ]; then
    say "$cluster has one node: what becomes of gateways when a node goes is not tested"
    skip=(--skip nodes::)
  fi
  # shellcheck disable=SC2086
  USE_EXISTING_CLUSTER=true E2E_GATEWAY=$gateway cargo test --locked --workspace --test kind -- $real "${skip[@]}" --test-threads=4 --show-output
}

# Adds a simulated node for the integration tests, on which the name of an image sets its fault. Kind's own nodes are
# cordoned.
simulate() {
  mkfifo "$work/open"
  (cd tests/cluster && CGO_ENABLED=0 go build -o "$work/cluster" .)
  "$work/cluster" node --kubeconfig "$KUBECONFIG" <"$work/open" >"$work/node.log" 2>&1 7>&- &
  simulator=$!
  # The tests must not inherit this file descriptor. Their clean-up processes would keep it open.
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
  USE_EXISTING_CLUSTER=true cargo test --locked --workspace --test it -- $tests --test-threads=4 9>&-
}

# The clean-up processes of the tests run for a moment after the tests have ended.
tests_are_removed() { # timeout in seconds
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
    # A container that was requested shortly before may appear after the others were deleted, so that the deletion is
    # repeated. It also deletes the objects of the tests. Their clean-up processes are killed, because they would retry
    # forever against a deleted cluster.
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
  # Kind's own image if a registry is reachable, otherwise the built one.
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

# 1. The operator runs in the cluster from its image, and kind's nodes run real gateways.
if [ "$real" != - ]; then
  step make_images
  loaded=$(nodes)
  step kind load docker-image "${images[@]}" --name "$cluster"
  cp -r deploy "$work/deploy"
  sed -i.bak -e "s|newName: .*|newName: ${operator%%:*}|" -e "s|newTag: .*|newTag: ${operator#*:}|" "$work/deploy/base/kustomization.yaml"
  sed "s|image: skipper|image: $ingress|" tests/kind/ingress/skipper.yaml >"$work/skipper.yaml"
  sed "s|image: contour$|image: $contour|" tests/kind/contour/contour.yaml >"$work/contour.yaml"
  installed=yes
  step install
  say "the operator and an ingress controller run in $cluster"
  step test_real
  tests_are_removed 180
  step uninstall
  say "the operator ran on $cluster from its image, and is removed"
  step test_chart
  step uninstall
  installed=
  say "a release of the chart was installed, upgraded and uninstalled on $cluster"
fi

# 2. The operator runs outside the cluster as its ServiceAccount, and the node is simulated.
if [ "$tests" != - ]; then
  simulate
  step test_simulated
  stop_simulating
  tests_are_removed 180
  say "the integration tests ran on $cluster"
fi
say "as expected"
