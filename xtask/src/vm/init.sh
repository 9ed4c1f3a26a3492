#!/bin/busybox sh
# First process of the guest. The host reads the GUEST- lines on the console.
export PATH=/bin:/sbin:/usr/bin:/usr/sbin HOME=/root TERM=dumb
/bin/busybox --install -s /bin

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tracefs tracefs /sys/kernel/tracing
mount -t bpf bpf /sys/fs/bpf
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /tmp
echo "GUEST-START $(uname -r)"

ln -s /proc/self/fd /dev/fd
mkdir -p /run/netns /dev/net
for module in $(cat /modules/order); do
    insmod "/modules/$module.ko"
done
[ -c /dev/net/tun ] || mknod /dev/net/tun c 10 200
echo "GUEST-MODULES" $(cut -d ' ' -f 1 /proc/modules)

hostname guest
ip link set lo up
ulimit -l unlimited
ulimit -n 20000

# A subshell, so that nothing in the command can end this process.
(cd /root && exec sh /command </dev/null)
code=$?

# Kernel messages could end up in the middle of the next line: silence them. The
# newline in front ends whatever the command left unfinished.
dmesg -n 1
printf '\nGUEST-EXIT %s\n' "$code"
# poweroff does not wait for the serial port.
usleep 200000
poweroff -f
