#!/bin/bash
# A Kubernetes of one node in a network namespace of its own, so that nothing of this machine's network changes.
# usage: cluster.sh WORK up|down        WORK/run/kubeconfig is the administrator's, of the server in that namespace
set -eu
work=$1 bin=$1/bin run=$1/run
netns=tcpwatch-cluster node=10.210.0.1
# `ip netns exec` would mount another /sys, without the cgroups that the kubelet and dockerd need.
inside() { nsenter --net=/run/netns/$netns "$@"; }
docker() { inside docker -H "unix://$run/docker.sock" "$@"; }

start() {
    local name=$1
    shift
    (exec setsid nsenter --net=/run/netns/$netns "$@") >"$run/$name.log" 2>&1 </dev/null &
    echo $! >"$run/$name.pid"
}

stop() {
    local pid
    pid=$(cat "$run/$1.pid" 2>/dev/null) || return 0
    # The number may be another's by now.
    if grep -qs "$work\|etcd" "/proc/$pid/cmdline"; then
        kill "$pid" 2>/dev/null || true
        for _ in $(seq 50); do
            [ -d "/proc/$pid" ] || break
            sleep 0.1
        done
        kill -9 "$pid" 2>/dev/null || true
    fi
    rm -f "$run/$1.pid"
}

await() {
    local what=$1 log=$2
    shift 2
    for _ in $(seq 120); do
        "$@" >/dev/null 2>&1 && return
        sleep 0.5
    done
    echo "$what did not get ready within a minute; the end of $run/$log.log:" >&2
    tail -n 15 "$run/$log.log" >&2
    exit 1
}

down() {
    set +e
    stop kubelet
    if [ -S "$run/docker.sock" ] && [ -e /run/netns/$netns ]; then
        docker ps -aq 2>/dev/null | while read -r id; do docker rm -f "$id" >/dev/null 2>&1; done
    fi
    for name in scheduler controllers apiserver etcd dockerd; do stop $name; done
    awk -v run="$run/" 'index($2, run) == 1 {print $2}' /proc/mounts | sort -r | while read -r at; do umount -l "$at"; done
    [ -e /run/netns/$netns ] && ip netns del $netns
    find /sys/fs/cgroup -depth -type d -path '*/kubepods*' -exec rmdir {} \; 2>/dev/null
    rm -rf "$run"
}

# The pause container of every pod, and a server that leaks.
images() {
    mkdir -p "$run/image"
    cc -static -O2 -o "$run/image/pod" "$work/pod.c"
    printf 'FROM scratch\nCOPY pod /pod\nENTRYPOINT ["/pod"]\n' >"$run/image/Dockerfile"
    docker build -q -t tcpwatch-test/pod:1 "$run/image" >/dev/null
}

up() {
    mkdir -p "$run"
    cd "$run"
    ip netns add $netns
    ip -n $netns link set lo up
    ip -n $netns link add node type veth peer name peer
    ip -n $netns address add $node/24 dev node
    ip -n $netns link set node up
    ip -n $netns link set peer up
    ip -n $netns route add default dev node
    # There is no kube-proxy: the one Service that is called is the API server's.
    for chain in PREROUTING OUTPUT; do
        inside iptables -t nat -A $chain -d 10.96.0.1 -p tcp --dport 443 -j DNAT --to-destination $node:6443
    done

    openssl genrsa -out accounts.key 2048 2>/dev/null
    token=$(openssl rand -hex 16)
    echo "$token,admin,1,system:masters" >tokens.csv
    chmod 600 tokens.csv accounts.key
    cat >kubeconfig <<Y
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: 'https://127.0.0.1:6443', insecure-skip-tls-verify: true}}]
users: [{name: u, user: {token: $token}}]
contexts: [{name: c, context: {cluster: c, user: u}}]
current-context: c
Y
    start etcd etcd --data-dir "$run/etcd" --listen-client-urls http://127.0.0.1:2379 \
        --advertise-client-urls http://127.0.0.1:2379 --listen-peer-urls http://127.0.0.1:2380
    start apiserver "$bin/kube-apiserver" --etcd-servers=http://127.0.0.1:2379 --cert-dir="$run/certificates" \
        --service-cluster-ip-range=10.96.0.0/24 --token-auth-file="$run/tokens.csv" --authorization-mode=RBAC,Node \
        --advertise-address=$node --kubelet-preferred-address-types=InternalIP \
        --service-account-issuer=https://kubernetes.default.svc \
        --service-account-signing-key-file="$run/accounts.key" --service-account-key-file="$run/accounts.key"
    await 'The API server' apiserver inside "$bin/kubectl" --kubeconfig kubeconfig get --raw /readyz
    start controllers "$bin/kube-controller-manager" --kubeconfig="$run/kubeconfig" --use-service-account-credentials \
        --service-account-private-key-file="$run/accounts.key" --root-ca-file="$run/certificates/apiserver.crt"
    start scheduler "$bin/kube-scheduler" --kubeconfig="$run/kubeconfig"

    # Limits and the score of the OOM killer can be raised by CAP_SYS_RESOURCE only, which virtual machines may lack.
    cat >runc <<'W'
#!/usr/bin/python3
import json, os, sys
if "--bundle" in sys.argv:
    path = os.path.join(sys.argv[sys.argv.index("--bundle") + 1], "config.json")
    config = json.load(open(path))
    for name in ("oomScoreAdj", "rlimits"):
        config["process"].pop(name, None)
    json.dump(config, open(path, "w"))
os.execv("/usr/sbin/runc", ["runc"] + sys.argv[1:])
W
    chmod +x runc
    start dockerd dockerd --data-root "$run/docker" --exec-root "$run/docker-run" -H "unix://$run/docker.sock" \
        -p "$run/docker.pid" --add-runtime "adapted=$run/runc" --default-runtime adapted --bip 10.211.0.1/24
    await Docker dockerd docker info
    images
    mkdir "$run/manifests"
    start kubelet "$bin/kubelet" --kubeconfig="$run/kubeconfig" --docker-endpoint="unix://$run/docker.sock" \
        --root-dir="$run/kubelet" --cert-dir="$run/kubelet-certificates" --cgroup-driver=cgroupfs --cgroups-per-qos=true \
        --enforce-node-allocatable= --eviction-hard= --fail-swap-on=false --oom-score-adj=0 --max-open-files=19000 \
        --hostname-override=node1 --node-ip=$node --pod-infra-container-image=tcpwatch-test/pod:1 --resolv-conf= \
        --cluster-dns=10.96.0.10 --make-iptables-util-chains=false --authorization-mode=AlwaysAllow \
        --anonymous-auth=true --sync-frequency=5s --pod-manifest-path="$run/manifests" --file-check-frequency=2s
    await 'The node' kubelet sh -c \
        "nsenter --net=/run/netns/$netns $bin/kubectl --kubeconfig kubeconfig get node node1 | grep -q ' Ready'"
}

case $2 in
up) up ;;
down) down ;;
*) exit 64 ;;
esac
