#!/usr/bin/env bash
# Builds a kind node image of the Kubernetes that tests/cluster pins, without a container registry:
# Debian's packages, and Kubernetes' programs from their Go modules. Prints the image's name.
#
# Everything is kept in the cache: a second run finds the image, or loads it into an engine that is new.
set -euo pipefail
cd "$(dirname "$0")"
here=$PWD
export CGO_ENABLED=0 GOWORK=off GOFLAGS=-trimpath DOCKER_BUILDKIT=0

say() { echo "kind: $*" >&2; }

kubernetes=$(sed -n 's/^require k8s.io\/kubernetes \(v[^ ]*\).*/\1/p' ../cluster/go.mod)

kind=v0.33.0
crictl=v1.36.0
coredns=v1.14.2 # the version that this kubeadm names

key=$(cat image.sh node/* ../cluster/go.sum | sha256sum | cut -c1-16)
image=phasegate-kind-node:$kubernetes-$key
cache=${PHASEGATE_CACHE:-$HOME/.cache/phasegate}/kind-$key
mkdir -p "$cache/bin"
exec 8>"$cache/lock"
flock 8
source ./steps.sh
source ./engine.sh

# An installation of Debian that was interrupted has the machine's /proc and /sys mounted.
remove_debian() {
  for mount in $(cut -d' ' -f2 /proc/mounts | grep "^$cache/debian/" | sort -r); do umount -l "$mount"; done
  rm -rf --one-file-system "$cache/debian"
}

clean() {
  docker rm -f -v phasegate-kind-build >/dev/null 2>&1 || true
  remove_debian || true
  engine_stop
}
clean_with clean
engine_start "${cache%/*}"

# A program is complete when it has its name: it is built beside it.
step=0
program() { # name, module folder, package, flags
  step=$((step + 1))
  [ ! -e "$cache/bin/$1" ] || return 0
  say "[$step/11] building $1 …"
  local started=$SECONDS
  (cd "$2" && go build -ldflags "-s -w ${4:-}" -o "$cache/bin/.$1" "$3")
  mv "$cache/bin/.$1" "$cache/bin/$1"
  say "[$step/11] built $1 in $((SECONDS - started)) s"
}
install() { # name, package@version
  step=$((step + 1))
  [ ! -e "$cache/bin/$1" ] || return 0
  say "[$step/11] building $1 …"
  local started=$SECONDS
  GOBIN=$cache/bin/.install go install -ldflags "-s -w" "$2"
  mv "$cache/bin/.install/$1" "$cache/bin/$1"
  say "[$step/11] built $1 in $((SECONDS - started)) s"
}

programs() {
  local control_plane number variable="-X k8s.io/component-base/version."
  number=${kubernetes#v}
  local version="${variable}gitVersion=$kubernetes ${variable}gitMajor=${number%%.*} ${variable}gitMinor=$(cut -d. -f2 <<<"$number")"
  # What the tests' control plane has built is not built again.
  control_plane=$(cd ../cluster && go run . build)
  for name in kube-apiserver kube-controller-manager kube-scheduler kubectl etcd; do
    [ -e "$cache/bin/$name" ] || cp "$control_plane/$name" "$cache/bin/$name"
  done
  if [ ! -e "$cache/module/ready" ]; then
    mkdir -p "$cache/module"
    cp ../cluster/go.mod ../cluster/go.sum "$cache/module"
    # Three modules more than the control plane pins.
    (cd "$cache/module" && go get -tool "k8s.io/kubernetes/cmd/kubeadm@$kubernetes")
    touch "$cache/module/ready"
  fi
  for name in kubelet kubeadm kube-proxy; do
    program "$name" "$cache/module" "k8s.io/kubernetes/cmd/$name" "$version"
  done
  program pause "$here/node" .
  install kind "sigs.k8s.io/kind@$kind"
  install crictl "sigs.k8s.io/cri-tools/cmd/crictl@$crictl"
  install coredns "github.com/coredns/coredns@$coredns"
}

# Debian with what a node needs, and kind's own files.
base() {
  if [ ! -e "$cache/debian.tar" ]; then
    say "installing Debian with containerd …"
    remove_debian
    debootstrap --variant=minbase --include="$(paste -sd, node/packages)" bookworm "$cache/debian" >"$cache/debootstrap.log" 2>&1 || {
      tail -20 "$cache/debootstrap.log" >&2
      return 1
    }
    tar -C "$cache/debian" -cf "$cache/.debian.tar" .
    remove_debian
    mv "$cache/.debian.tar" "$cache/debian.tar"
  fi
  docker import - phasegate-debian-node:bookworm <"$cache/debian.tar" >/dev/null
  rm -rf "$cache/base"
  mkdir "$cache/base"
  cp -r "$(cd "$cache/module" && go mod download -json "sigs.k8s.io/kind@$kind" | jq -r .Dir)/images/base/files" "$cache/base/"
  chmod -R u+w "$cache/base"
  cp node/Dockerfile node/pod-network.conflist "$cache/base/"
  (cd "$cache/bin" && cp kubeadm kubelet kubectl crictl "$cache/base/")
  say "building the node's base image …"
  docker build --build-arg "KUBERNETES=$kubernetes" -t phasegate-kind-base "$cache/base" >"$cache/base.log" 2>&1 || {
    tail -20 "$cache/base.log" >&2
    return 1
  }
}

# The images that kubeadm starts, each made of one static program.
images() {
  local names name of
  names="$("$cache/bin/kubeadm" config images list --kubernetes-version "$kubernetes")"
  names="$names $(sed -n 's/.*sandbox_image = "\(.*\)"/\1/p' "$cache/base/files/etc/containerd/config.toml")"
  for name in $names; do
    of=${name##*/} of=${of%%:*}
    if [ "$of" = kube-proxy ]; then
      # It runs iptables; kubeadm starts it as /usr/local/bin/kube-proxy.
      docker run --rm --network none --entrypoint bash -v "$cache/bin/kube-proxy:/kube-proxy:ro" phasegate-kind-base -euc '
        mkdir -p /fs/run /fs/tmp /fs/usr/local/bin; cd /
        cp -a --parents usr/sbin/xtables-* usr/sbin/ip*tables* usr/sbin/nft usr/sbin/conntrack etc/alternatives/ip*tables* usr/lib/x86_64-linux-gnu/xtables /fs
        ldd usr/sbin/xtables-*-multi usr/sbin/nft usr/sbin/conntrack usr/lib/x86_64-linux-gnu/xtables/*.so | grep -o "/[^ :]* (" | tr -d "( " | sort -u | xargs cp -L --parents -t /fs
        cp /kube-proxy /fs/usr/local/bin; tar -C /fs -c .'
    else
      tar -C "$cache/bin" --transform 's,^,usr/local/bin/,' -c "$of"
    fi | docker import -c "ENTRYPOINT [\"/usr/local/bin/$of\"]" -c 'ENV PATH=/usr/local/bin:/usr/sbin' - "$name" >/dev/null
  done
  say "putting Kubernetes' images into the node's …"
  docker rm -f -v phasegate-kind-build >/dev/null 2>&1 || true
  docker run -d --name phasegate-kind-build --network none --entrypoint sleep phasegate-kind-base infinity >/dev/null
  # shellcheck disable=SC2086
  docker save $names | docker exec -i phasegate-kind-build bash -euc 'containerd >/dev/null 2>&1 & pid=$!
    until ctr version >/dev/null 2>&1; do sleep 0.2; done
    ctr -n k8s.io images import --all-platforms --no-unpack - >/dev/null; kill $pid; wait $pid || true; rm -rf /run/containerd/*'
  docker commit -c 'ENTRYPOINT ["/usr/local/bin/entrypoint", "/sbin/init"]' phasegate-kind-build "$image" >/dev/null
  docker rm -f -v phasegate-kind-build >/dev/null
  # shellcheck disable=SC2086
  docker rmi $names >/dev/null 2>&1 || true
}

build() {
  packages "$cache/apt.log" debootstrap:debootstrap jq:jq
  programs
  base
  images
  docker save -o "$cache/.node.tar" "$image"
  mv "$cache/.node.tar" "$cache/node.tar"
}

if docker image inspect "$image" >/dev/null 2>&1 && [ -e "$cache/bin/kind" ]; then
  :
elif [ -e "$cache/node.tar" ]; then
  say "loading the node's image …"
  step docker load --quiet --input "$cache/node.tar" >/dev/null
else
  step build
fi
echo "$image" "$cache/bin"
