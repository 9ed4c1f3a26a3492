#!/bin/sh
# Builds the parts of Kubernetes 1.20 from Debian's source package, which has all that it needs: once, some five minutes.
# usage: build.sh WORK MIRROR
set -eu
work=$1 mirror=$2 suite=bookworm
parts='kube-apiserver kube-controller-manager kube-scheduler kubelet kubectl'

is_built() { for part in $parts; do [ -x "$work/bin/$part" ] || return 1; done; }
is_built && exit 0

apt=$work/apt keyring=/usr/share/keyrings/debian-archive-keyring.gpg
mkdir -p "$work/bin" "$work/gopath/src/k8s.io" "$work/source" "$apt/lists/partial" "$apt/cache/archives/partial"
[ -e $keyring ] && signed=" [signed-by=$keyring]" || signed=
echo "deb-src$signed $mirror $suite main" >"$apt/sources.list"
: >"$apt/status"
private() {
    apt-get -q -o Dir::Etc::sourcelist="$apt/sources.list" -o Dir::Etc::sourceparts=/dev/null \
        -o Dir::State::lists="$apt/lists" -o Dir::State::status="$apt/status" -o Dir::Cache="$apt/cache" \
        -o APT::Sandbox::User=root -o Acquire::Retries=3 "$@"
}

tree=$work/gopath/src/k8s.io/kubernetes
if [ ! -d "$tree" ]; then
    private update
    (cd "$work/source" && private source --download-only kubernetes)
    rm -rf "$work/unpacked" && mkdir "$work/unpacked"
    tar -xf "$work"/source/kubernetes_*.orig.tar.gz -C "$work/unpacked"
    mv "$work"/unpacked/kubernetes-* "$tree"
fi

# Without modules: in that mode go asks for other versions than are there.
export GO111MODULE=off GOPROXY=off GOTOOLCHAIN=local CGO_ENABLED=0 GOCACHE="$work/gocache" GOPATH="$work/gopath"
cd "$tree"
if [ ! -f pkg/generated/openapi/zz_generated.openapi.go ]; then
    # The one generated file that the package lacks.
    go build -o "$work/bin/openapi-gen" ./vendor/k8s.io/kube-openapi/cmd/openapi-gen
    from=$(grep -rlE '^// \+k8s:openapi-gen=' --include=*.go staging/src/k8s.io pkg |
        grep -vE 'code-generator|sample-|/testdata/|cmd/' | xargs -n1 dirname | sort -u |
        sed -E 's#^staging/src/k8s.io/#k8s.io/kubernetes/vendor/k8s.io/#; s#^pkg/#k8s.io/kubernetes/pkg/#' | paste -sd,)
    "$work/bin/openapi-gen" -h hack/boilerplate/boilerplate.generatego.txt -i "$from" \
        -p k8s.io/kubernetes/pkg/generated/openapi -O zz_generated.openapi -r "$work/violations.txt"
fi
vendor=k8s.io/kubernetes/vendor/k8s.io flags='-s -w'
for package in $vendor/component-base/version $vendor/client-go/pkg/version; do
    flags="$flags -X $package.gitVersion=v1.20.2 -X $package.gitMajor=1 -X $package.gitMinor=20"
done
for part in $parts; do
    [ -x "$work/bin/$part" ] && continue
    echo "building $part"
    nice -n 19 go build -ldflags "$flags" -o "$work/bin/$part.new" "./cmd/$part"
    mv "$work/bin/$part.new" "$work/bin/$part"
done
