#!/bin/sh
# Installs tcpwatch on this host: the binary, its systemd unit, a configuration, completions and manual pages.
#
# Run again to upgrade. What it has put where is noted, so that uninstall.sh takes away just that; a configuration that
# was changed is never overwritten, and a file of somebody else's is put aside.

set -eu

usage() {
    cat <<'END'
Usage: deploy/install.sh [OPTION]...

  --binary FILE    the binary to install; by default target/dist/tcpwatch, which `cargo xtask build` makes
  --prefix DIR     where to (/usr/local)
  --destdir DIR    put everything below DIR, for a package or an image; also $DESTDIR
  --start          enable and start the service, or restart it
  --dry-run        only say what would be done
  --help           this text

Into PREFIX go bin/tcpwatch, the completions of bash, zsh and fish, and manual pages; the unit goes to
/etc/systemd/system (with --prefix /usr to /usr/lib/systemd/system), the configuration to /etc/tcpwatch/tcpwatch.toml.
What is in the way and was not installed by this becomes FILE.orig.
A service that runs is restarted by an upgrade. To undo it: PREFIX/share/tcpwatch/uninstall.sh
END
}

say() { printf '%s\n' "$*"; }
fail() {
    printf 'install.sh: %s\n' "$*" >&2
    exit 1
}

# Notes a line once.
note() {
    if ! grep -qxF "$1" "$work/list"; then printf '%s\n' "$1" >>"$work/list"; fi
}

# Makes a directory and those above it, and notes which were not there.
directory() {
    if [ -d "$destdir$1" ]; then return; fi
    case $1 in */*/*) directory "${1%/*}" ;; esac
    note "directory $1"
    if [ -z "$dry" ]; then mkdir -m 755 "$destdir$1"; fi
}

# Puts a file in its place at once, so that nobody sees half of it: FROM TO MODE.
place() {
    directory "${2%/*}"
    if cmp -s "$1" "$destdir$2"; then
        note "file $2"
        return
    fi
    if [ ! -e "$destdir$2" ]; then
        say "install $destdir$2"
    elif grep -qxF "file $2" "$work/before"; then
        say "replace $destdir$2"
    else
        [ ! -e "$destdir$2.orig" ] || fail "$destdir$2 is somebody else's, and so is $2.orig: move one away"
        say "keep    $destdir$2, which is not from here, as $2.orig"
        if [ -z "$dry" ]; then mv "$destdir$2" "$destdir$2.orig"; fi
    fi
    note "file $2"
    if [ -n "$dry" ]; then return; fi
    cp "$1" "$destdir$2.new"
    chmod "$3" "$destdir$2.new"
    mv -f "$destdir$2.new" "$destdir$2"
}

sum() { cksum <"$1"; }

# A configuration of the host's own stays. One that nobody has changed since it was installed is replaced.
configuration() {
    to=/etc/tcpwatch/tcpwatch.toml
    was=$(sed -n "s|^configuration $to ||p" "$work/list")
    if [ -e "$destdir$to" ] && [ "$(sum "$destdir$to")" != "$was" ] && ! cmp -s "$1" "$destdir$to"; then
        say "keep    $destdir$to: it was changed; $share/tcpwatch.toml has every option of this version"
        # No sum is that of what we have put there.
        if [ -z "$was" ]; then note "configuration $to -"; fi
        return
    fi
    directory /etc/tcpwatch
    grep -v "^configuration $to " "$work/list" >"$work/rest" || true
    mv "$work/rest" "$work/list"
    note "configuration $to $(sum "$1")"
    if cmp -s "$1" "$destdir$to"; then return; fi
    say "install $destdir$to"
    if [ -z "$dry" ]; then
        cp "$1" "$destdir$to.new"
        chmod 644 "$destdir$to.new"
        mv -f "$destdir$to.new" "$destdir$to"
    fi
}

# Writes down what is in its place by now, also when something has gone wrong after that.
finish() {
    if [ -n "$placing" ] && [ -z "$dry" ] && [ -d "$destdir$share" ]; then
        sort "$work/list" >"$work/installed"
        if ! cmp -s "$work/installed" "$destdir$share/installed"; then
            cp "$work/installed" "$destdir$share/installed.new"
            mv -f "$destdir$share/installed.new" "$destdir$share/installed"
        fi
    fi
    rm -rf "$work"
}

# Whether systemd runs here and is the one to be told.
systemd_runs() { [ -z "$destdir" ] && [ -d /run/systemd/system ]; }

main() {
    here=$(CDPATH='' cd "$(dirname "$0")" && pwd)
    binary=$here/../target/dist/tcpwatch
    prefix=/usr/local
    destdir=${DESTDIR:-}
    dry=
    start=
    while [ $# -gt 0 ]; do
        case $1 in
        --binary=* | --prefix=* | --destdir=*)
            option=${1%%=*} value=${1#*=}
            shift
            set -- "$option" "$value" "$@"
            continue
            ;;
        --binary | --prefix | --destdir)
            [ $# -gt 1 ] || fail "$1 needs a value; --help says more"
            case $1 in
            --binary) binary=$2 ;;
            --prefix) prefix=${2%/} ;;
            --destdir) destdir=$2 ;;
            esac
            shift
            ;;
        --start) start=1 ;;
        --dry-run) dry=1 ;;
        --help | -h)
            usage
            exit 0
            ;;
        *) fail "there is no option $1; --help says which there are" ;;
        esac
        shift
    done
    destdir=${destdir%/}
    case $prefix in
    *[!A-Za-z0-9/._+-]*) fail "--prefix may have letters, digits and /._+- and is $prefix" ;;
    /*) ;;
    *) fail "--prefix has to begin with /, and is $prefix" ;;
    esac
    case $destdir in '' | /*) ;; *) destdir=$(pwd)/$destdir ;; esac
    if [ "$prefix" = /usr ]; then units=/usr/lib/systemd/system; else units=/etc/systemd/system; fi
    share=$prefix/share/tcpwatch

    [ -f "$binary" ] || fail "there is no $binary: \`cargo xtask build\` makes it, --binary FILE takes another"
    # By its name alone a shell would look for it in PATH.
    binary=$(CDPATH='' cd "$(dirname "$binary")" && pwd)/$(basename "$binary")
    # One for another machine must not replace one that works.
    version=$("$binary" --version) || fail "$binary does not run on this machine"
    if [ -z "$destdir$dry" ] && [ "$(id -u)" != 0 ]; then
        fail "this needs root: sudo $0; or --destdir DIR, or --dry-run"
    fi
    if [ -n "$destdir" ] && [ ! -d "$destdir" ]; then fail "there is no directory $destdir"; fi
    if [ -n "$start" ]; then
        [ -z "$destdir$dry" ] || fail "--start needs the system itself, no --destdir and no --dry-run"
        systemd_runs || fail "--start needs systemd, which does not run here"
    fi
    for tool in cksum cmp grep mktemp sed sort; do
        command -v "$tool" >/dev/null || fail "this needs $tool, which is not installed"
    done

    work=$(mktemp -d)
    placing=
    trap finish EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    : >"$work/list"
    if [ -f "$destdir$share/installed" ]; then cp "$destdir$share/installed" "$work/list"; fi
    cp "$work/list" "$work/before"
    say "$version to ${destdir:-}$prefix${dry:+ (dry run)}"

    if [ -f "$destdir/etc/tcpwatch/tcpwatch.toml" ]; then
        "$binary" run --config "$destdir/etc/tcpwatch/tcpwatch.toml" --print-config >"$work/config" ||
            fail "this version does not take the configuration above; nothing was changed"
    fi

    "$binary" run --print-config >"$work/every.toml"
    # Options are shown and not set: an upgrade may bring better values.
    {
        say '# Options are shown as they are by default. To set one, take away the # before it.'
        sed 's/^\([a-z0-9_]* = \)/#\1/' "$work/every.toml"
    } >"$work/tcpwatch.toml"
    sed "s|^ExecStart=/usr/local/bin/|ExecStart=$prefix/bin/|" "$here/systemd/tcpwatch.service" >"$work/service"
    sed "s|/usr/local|$prefix|g" "$here/uninstall.sh" >"$work/uninstall.sh"
    for shell in bash zsh fish; do "$binary" completions "$shell" >"$work/$shell"; done

    placing=1
    note "file $share/installed"
    directory "$share"
    place "$binary" "$prefix/bin/tcpwatch" 755
    place "$work/bash" "$prefix/share/bash-completion/completions/tcpwatch" 644
    place "$work/zsh" "$prefix/share/zsh/site-functions/_tcpwatch" 644
    place "$work/fish" "$prefix/share/fish/vendor_completions.d/tcpwatch.fish" 644
    "$binary" man >"$work/page"
    place "$work/page" "$prefix/share/man/man1/tcpwatch.1" 644
    for command in $("$binary" --help | sed -n '/^Commands:/,/^$/s/^  \([a-z][a-z-]*\).*/\1/p'); do
        if [ "$command" = help ]; then continue; fi
        "$binary" man "$command" >"$work/page"
        place "$work/page" "$prefix/share/man/man1/tcpwatch-$command.1" 644
    done
    place "$work/every.toml" "$share/tcpwatch.toml" 644
    place "$work/uninstall.sh" "$share/uninstall.sh" 755
    configuration "$work/tcpwatch.toml"
    place "$work/service" "$units/tcpwatch.service" 644

    if [ -n "$dry" ]; then return; fi
    if ! systemd_runs; then
        say "done; systemd does not run here: $prefix/bin/tcpwatch run --config /etc/tcpwatch/tcpwatch.toml"
        return
    fi
    systemctl daemon-reload
    if [ -n "$start" ]; then
        systemctl enable --quiet tcpwatch.service
        systemctl restart tcpwatch.service
        say "done; tcpwatch watches: systemctl status tcpwatch"
    elif systemctl is-active --quiet tcpwatch.service; then
        systemctl restart tcpwatch.service
        say "done; tcpwatch was restarted: systemctl status tcpwatch"
    else
        say "done; to start it now and at each boot: systemctl enable --now tcpwatch"
    fi
}

main "$@"
