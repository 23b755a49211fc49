# shellcheck shell=bash
# Lines on the terminal, the log, steps and interruption. Sourced by the scripts beside it.

log=/dev/null      # where the output of long commands goes
child=             # the process group that `logged` or `shown` is waiting for
to_the_end=        # set: an interruption waits for it, because stopped half-way it would leave a mess
step_number=0
step_count=0

say() { printf '%s\n' "$*"; }
note() { printf '        %s\n' "$*"; }

# die MESSAGE: one line that says what is wrong and what to do.
die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

# step TITLE FUNCTION: "[ 3/11] title" … "done in 12 s"
step() {
    local title=$1 began=$SECONDS
    step_number=$((step_number + 1))
    printf '[%2d/%d] %s\n' "$step_number" "$step_count" "$title"
    "$2"
    note "done in $((SECONDS - began)) s"
}

# logged WHAT COMMAND…: the output goes to the log, a line every ten seconds says that it is still at work. When it
# fails, its last lines are shown and the script ends.
logged() {
    local what=$1 began=$SECONDS said=$SECONDS first_line status=0
    shift
    note "$what"
    printf '\n--- %s %s\n' "$(date '+%F %T')" "$*" >>"$log"
    first_line=$(($(wc -l <"$log") + 1))
    set -m # a process group of its own, so that an interruption ends all of it
    { "$@"; } >>"$log" 2>&1 </dev/null 9>&- &
    child=$!
    set +m
    while kill -0 "$child" 2>/dev/null; do
        sleep 0.2
        if ((SECONDS - said >= 10)); then
            said=$SECONDS
            note "  … $((SECONDS - began)) s"
        fi
    done
    wait "$child" || status=$?
    child=
    if ((status)); then
        tail -n "+$first_line" "$log" | tail -n 15 | sed 's/^/        | /' >&2
        die "$what failed (status $status); everything it said is in $log"
    fi
}

# shown WHAT COMMAND…: the output goes to the terminal, indented. When it fails the script ends.
shown() {
    local what=$1 status=0
    shift
    set -m
    { "$@" 2>&1 | sed -u 's/^/        /'; } </dev/null 9>&- &
    child=$!
    set +m
    wait "$child" || status=$?
    child=
    ((status == 0)) || die "$what failed (status $status), as said above"
}

# until_ok SECONDS WHAT COMMAND…: repeat the command until it succeeds; status 1 when the time is over.
until_ok() {
    local limit=$1 what=$2 began=$SECONDS said=$SECONDS
    shift 2
    until "$@" >/dev/null 2>&1; do
        ((SECONDS - began < limit)) || return 1
        sleep 0.3
        if ((SECONDS - said >= 10)); then
            said=$SECONDS
            note "waiting for $what: $((SECONDS - began)) s"
        fi
    done
}

interrupted() {
    trap '' INT TERM HUP
    if [[ -n $child ]]; then
        if [[ -n $to_the_end ]]; then
            printf '\n%s: interrupted; letting this end first\n' "${0##*/}" >&2
        else
            kill -TERM -- "-$child" 2>/dev/null || true
        fi
        wait "$child" 2>/dev/null || true
        until_ok 10 "the end of what was under way" group_ended "$child" || true
    fi
    printf '\n%s: interrupted; the next run goes on from here\n' "${0##*/}" >&2
    exit 130
}

group_ended() { ! kill -0 -- "-$1" 2>/dev/null; }

# only_one PATH WHAT: refuse to run twice at once. The lock is descriptor 9: everything that outlives the script must be
# started without it.
only_one() {
    mkdir -p "$(dirname "$1")"
    exec 9>"$1"
    flock -n 9 || die "another $2 is running (it holds $1): wait for it"
}

# without_descriptors COMMAND…: run it with the three standard descriptors only. A lock that somebody holds around us must
# not live on in a daemon.
without_descriptors() {
    (
        local fd
        for fd in /proc/self/fd/*; do
            fd=${fd##*/}
            ((fd <= 2)) || eval "exec $fd>&-"
        done
        exec "$@"
    )
}

# detached COMMAND…: it outlives us, in a session of its own. What it prints before it has a log of its own goes to ours.
detached() { without_descriptors setsid --fork "$@" >>"$log" 2>&1 </dev/null; }

have_systemd() { [[ -d /run/systemd/system ]]; }

# answers SOCKET: does somebody listen there?
answers() {
    /usr/bin/python3 -c 'import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])' "$1" 2>/dev/null
}
