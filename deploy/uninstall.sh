#!/bin/sh
# Takes away what install.sh has put on this host, and nothing else.

set -eu

usage() {
    cat <<'END'
Usage: uninstall.sh [OPTION]...

  --prefix DIR     where it was installed to (/usr/local)
  --destdir DIR    below which directory; also $DESTDIR
  --purge          also what it has recorded, and a configuration that was changed
  --dry-run        only say what would be done
  --help           this text
END
}

say() { printf '%s\n' "$*"; }
fail() {
    printf 'uninstall.sh: %s\n' "$*" >&2
    exit 1
}

act() {
    if [ -z "$dry" ]; then "$@"; fi
}

remove() {
    if [ ! -e "$destdir$1" ] && [ ! -L "$destdir$1" ]; then return; fi
    say "remove  $destdir$1"
    act rm "$2" "$destdir$1"
}

# Whether systemd runs here and is the one to be told.
systemd_runs() { [ -z "$destdir" ] && [ -d /run/systemd/system ]; }

main() {
    prefix=/usr/local
    destdir=${DESTDIR:-}
    dry=
    purge=
    while [ $# -gt 0 ]; do
        case $1 in
        --prefix=* | --destdir=*)
            option=${1%%=*} value=${1#*=}
            shift
            set -- "$option" "$value" "$@"
            continue
            ;;
        --prefix | --destdir)
            [ $# -gt 1 ] || fail "$1 needs a value; --help says more"
            case $1 in
            --prefix) prefix=${2%/} ;;
            --destdir) destdir=$2 ;;
            esac
            shift
            ;;
        --purge) purge=1 ;;
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
    case $destdir in '' | /*) ;; *) destdir=$(pwd)/$destdir ;; esac
    installed=$destdir$prefix/share/tcpwatch/installed
    [ -f "$installed" ] || fail "there is no $installed: nothing is installed there; --prefix DIR looks elsewhere"
    if [ -z "$destdir$dry" ] && [ "$(id -u)" != 0 ]; then fail "this needs root: sudo $0; or --dry-run"; fi
    # It is removed on the way.
    list=$(cat "$installed")

    if systemd_runs; then
        say "stop    tcpwatch.service"
        act systemctl disable --quiet --now tcpwatch.service
    fi
    printf '%s\n' "$list" | while read -r kind path rest; do
        case $kind in
        file) remove "$path${rest:+ $rest}" -f ;;
        configuration)
            if [ ! -e "$destdir$path" ]; then
                :
            elif [ -n "$purge" ] || [ "$(cksum <"$destdir$path")" = "$rest" ]; then
                remove "$path" -f
            else
                say "keep    $destdir$path: it was changed; --purge removes it"
            fi
            ;;
        esac
    done
    state=/var/lib/tcpwatch
    if [ -n "$purge" ]; then
        remove "$state" -rf
        # Where systemd keeps it for a user that comes and goes.
        remove /var/lib/private/tcpwatch -rf
    elif [ -e "$destdir$state" ]; then
        say "keep    $destdir$state: what was recorded; --purge removes it"
    fi
    # Those that install.sh made, the lowest first, if nobody else has put something there.
    printf '%s\n' "$list" | sed -n 's/^directory //p' | sort -r | while read -r path; do
        if [ -n "$dry" ]; then continue; fi
        rmdir "$destdir$path" 2>/dev/null || true
    done
    if systemd_runs; then
        act systemctl daemon-reload
        act systemctl reset-failed tcpwatch.service 2>/dev/null || true
    fi
    say "done${dry:+ (dry run)}"
}

main "$@"
