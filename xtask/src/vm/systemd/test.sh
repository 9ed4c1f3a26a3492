# What tcpwatch's unit and the scripts that install it do under a real systemd. Runs as root in a guest made for it.

set -u
export LC_ALL=C
API=127.0.0.1:9717
UNIT=tcpwatch.service
cd /guest

fail() {
    echo "FAILED: $*"
    systemctl status $UNIT --no-pager --full --lines=0
    journalctl -u $UNIT --no-pager -o cat | tail -n 40
    exit 1
}
ok() { echo "ok $*, after $(cut -d . -f 1 /proc/uptime) s"; }
note() { echo "note $*"; }

# GET PATH: status line, header and body.
get() {
    exec 3<>/dev/tcp/127.0.0.1/9717 2>/dev/null || return 1
    printf 'GET %s HTTP/1.0\r\nHost: guest\r\n\r\n' "$1" >&3
    cat <&3
    exec 3>&-
}
shown() { systemctl show -P "$1" $UNIT; }
# Until a command succeeds, at most so many seconds.
within() {
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        [ $SECONDS -lt $end ] || return 1
        sleep 0.2
    done
}
says() { [[ "$("${@:2}" 2>&1)" == *"$1"* ]]; }
ready() { says "200 OK" get /readyz; }
logged() { journalctl -u $UNIT --no-pager -o cat | grep -qF -- "$1"; }
# Everything that installing could leave, with its mode and its sum.
tree() {
    find /etc /usr /var -path /var/log -prune -o -printf '%p %y %m %l\n' | sort
    find /etc /usr/local -type f -exec cksum {} + | sort
}

systemctl is-system-running --wait
systemctl --failed --no-pager --no-legend
note "$(systemctl --version | head -n 1), Linux $(uname -r), up after $(cut -d . -f 1 /proc/uptime) s"

# What systemd itself puts there is not ours: its directory for users that come and go, and that of what is enabled.
mkdir -p -m 700 /var/lib/private /var/cache/private /var/log/private
mkdir -p /etc/systemd/system/multi-user.target.wants /usr/local/bin /usr/local/share
tree >/run/before
systemd-analyze verify --man=no deploy/systemd/$UNIT 2>&1 | grep -v 'bin/tcpwatch is not executable' && fail "verify complains"
note "$(systemd-analyze security --offline=true --no-pager deploy/systemd/$UNIT 2>&1 | grep -i 'overall exposure')"

deploy/install.sh --binary tcpwatch --dry-run >/run/said || fail "a dry run: $(cat /run/said)"
tree | cmp - /run/before || fail "a dry run has changed something"
grep -q '^install /usr/local/bin/tcpwatch$' /run/said || fail "a dry run says too little: $(cat /run/said)"
ok "a dry run changes nothing"

deploy/install.sh --binary tcpwatch --start || fail "install.sh --start"
ready || fail "started, but not ready: $(get /readyz)"
ok "started: systemctl returns when it is ready"
[ "$(shown ActiveState)/$(shown SubState)" = active/running ] || fail "not running"
[ "$(systemctl is-enabled $UNIT)" = enabled ] || fail "not enabled"
[[ "$(shown StatusText)" == "watching through eBPF, listening on http://$API"* ]] || fail "status: $(shown StatusText)"

pid=$(shown MainPID)
status() { sed -n "s/^$1:\t//p" "/proc/$pid/status"; }
[ "$(status Uid | cut -f 1)" != 0 ] || fail "it runs as root"
[ "$(status NoNewPrivs) $(status Seccomp)" = "1 2" ] || fail "it may gain privileges, or has no filter"
# DAC_READ_SEARCH 2, SYS_PTRACE 19, SYS_ADMIN 21.
for set in CapEff CapPrm CapBnd; do
    [ "$(status $set)" = 0000000000280004 ] || fail "$set is $(status $set)"
done
says '"loaded":true' get /api/v1/status && ! says '"loaded":false' get /api/v1/status || fail "not all programs: $(get /api/v1/status)"
# What an older kernel lacks is not the unit's fault.
warned=$(journalctl -u $UNIT --no-pager -o cat | grep WARN | grep -v 'this kernel has no')
[ -z "$warned" ] || fail "it complains: $warned"
! logged 'ERROR' || fail "it complains"
logged 'recording to' || fail "no flight recorder"
[ -d /var/lib/tcpwatch/flight ] || fail "no recordings"
[ -S /run/tcpwatch/tcpwatch.sock ] || fail "no local socket"
ok "all programs run, as another user with three capabilities"
note "memory peak $(shown MemoryPeak), now $(shown MemoryCurrent), tasks $(shown TasksCurrent)"

# A namespace that is made while it runs, and a listener of another user that never accepts.
ip netns add late
cat >/run/deaf.pl <<'END'
use Fcntl;
use Socket;
socket(my $listener, PF_INET, SOCK_STREAM, 0) or die $!;
bind($listener, sockaddr_in(8080, INADDR_LOOPBACK)) or die $!;
listen($listener, 4) or die $!;
my @open;
while (1) {
    if (@open < 30) {
        socket(my $client, PF_INET, SOCK_STREAM, 0);
        fcntl($client, F_SETFL, O_NONBLOCK);
        connect($client, sockaddr_in(8080, INADDR_LOOPBACK));
        push @open, $client;
    }
    select(undef, undef, undef, 0.1);
}
END
# Its output must not keep anybody waiting.
ip -n late link set lo up
ip netns exec late setpriv --reuid nobody --regid nogroup --clear-groups perl /run/deaf.pl >/run/deaf.log 2>&1 &
deaf=$!
found() { says 'accept_queue_overflow' tcpwatch findings; }
within 60 found || fail "no finding: $(tcpwatch findings; tcpwatch netstat -l; cat /run/deaf.log)"
says 'perl[' tcpwatch findings || fail "the finding names nobody: $(tcpwatch findings)"
within 20 says 'late' tcpwatch netstat -s || fail "the namespace has no name: $(tcpwatch netstat -s)"
# One that nobody is in is only there by its mount, which has to reach the daemon's.
ip netns add deserted
within 20 says '"deserted"' get /api/v1/states || fail "a namespace without processes is not seen: $(get /api/v1/states)"
within 5 logged 'finding accept_queue_overflow' || fail "the journal does not tell of the finding"
within 5 says '1 critical' shown StatusText || fail "status: $(shown StatusText)"
ok "a finding names a process of another user in a namespace that is younger than the daemon"
kill $deaf
ip netns del late
ip netns del deserted

printf '[findings]\nclose_after = "2s"\n' >/etc/tcpwatch/tcpwatch.toml
systemctl reload $UNIT || fail "reload"
within 5 logged 'was read again' || fail "the configuration was not read"
within 30 says "listening on http://$API" shown StatusText && within 30 eval '! says findings: shown StatusText' ||
    fail "the finding does not close: $(shown StatusText)"
cp /etc/tcpwatch/tcpwatch.toml /run/good.toml
echo 'wrong' >/etc/tcpwatch/tcpwatch.toml
systemctl reload $UNIT || fail "reload of what is wrong"
within 5 says 'the old configuration stays' shown StatusText || fail "status: $(shown StatusText)"
[ "$(shown ActiveState)" = active ] || fail "it ended by a wrong configuration"
! deploy/install.sh --binary tcpwatch >/run/said 2>&1 || fail "an upgrade with a wrong configuration"
grep -q 'nothing was changed' /run/said || fail "it says: $(cat /run/said)"
cp /run/good.toml /etc/tcpwatch/tcpwatch.toml
ok "reloads; a wrong configuration is told and refused"

# Restarted when it is killed, and then with a watchdog of 10 s.
mkdir -p /run/systemd/system/$UNIT.d
printf '[Service]\nWatchdogSec=10s\nRestartSec=1s\nGroup=adm\n' >/run/systemd/system/$UNIT.d/test.conf
systemctl daemon-reload
restarted() { [ "$(shown NRestarts)" = "$1" ] && [ "$(shown ActiveState)" = active ] && ready; }
kill -KILL "$pid"
within 90 restarted 1 || fail "not started again after kill -9"
[ "$(stat -c '%G %a' /run/tcpwatch/tcpwatch.sock)" = 'adm 660' ] || fail "the local socket: $(stat -c '%G %a' /run/tcpwatch/tcpwatch.sock)"
setpriv --reuid nobody --regid adm --clear-groups tcpwatch netstat -s >/run/said 2>&1 || fail "a member of the group: $(cat /run/said)"
ok "started again after kill -9"
pid=$(shown MainPID)
sleep 12
[ "$(shown NRestarts)" = 1 ] || fail "the watchdog takes a living one for dead"
kill -STOP "$pid"
within 120 restarted 2 || fail "not started again after it hung"
journalctl -u $UNIT --no-pager -o cat | grep -qi 'watchdog timeout' || fail "that was not the watchdog"
ok "started again by the watchdog after it hung"
rm -r /run/systemd/system/$UNIT.d

# Bytes after the end of a program are another program that does the same.
{ cat tcpwatch; echo upgraded; } >newer
chmod 755 newer
pid=$(shown MainPID)
deploy/install.sh --binary newer >/run/said || fail "upgrade: $(cat /run/said)"
ready && [ "$(shown MainPID)" != "$pid" ] || fail "the service was not restarted"
cmp newer /usr/local/bin/tcpwatch || fail "not the newer one"
cmp /run/good.toml /etc/tcpwatch/tcpwatch.toml || fail "the configuration was overwritten"
grep -q '^keep .*tcpwatch.toml' /run/said || fail "it says: $(cat /run/said)"
ok "upgraded, with its configuration"
systemctl stop $UNIT || fail "stop"
logged 'nothing is left in the kernel' || fail "it did not end well"
[ "$(shown Result)" = success ] && [ ! -e /run/tcpwatch ] || fail "stopped: $(shown Result)"
systemctl start $UNIT || fail "start"

/usr/local/share/tcpwatch/uninstall.sh --dry-run >/run/said || fail "a dry run"
ready || fail "a dry run has stopped it"
pid=$(shown MainPID)
/usr/local/share/tcpwatch/uninstall.sh --purge || fail "uninstall.sh"
tree | diff /run/before - || fail "something is left, or gone"
[ "$(shown LoadState)" = not-found ] && ! ready 2>/dev/null || fail "the service is still there"
[ ! -e "/proc/$pid" ] && [ ! -e /run/tcpwatch ] || fail "something runs still"
ok "uninstalled, and nothing is left"
