# Shared by images/build and the recipes: messages, progress, the work directory and its cleaning, child processes.
# shellcheck shell=bash

die() {
    printf 'images/build: %s\n' "$*" >&2
    exit 1
}

note() { printf '%s\n' "$*" >&2; }

LAST_PROGRESS=0

# progress PERCENT TEXT: never goes back.
progress() {
    [ "$1" -le "$LAST_PROGRESS" ] || LAST_PROGRESS=$1
    printf 'progress %d %s\n' "$LAST_PROGRESS" "$2"
}

known_images() {
    local recipe
    for recipe in "$CATALOGUE"/*/build; do basename "$(dirname "$recipe")"; done | paste -sd' '
}

# image_property NAME: the value of a plain `NAME = value` line of the recipe's image.toml.
image_property() {
    sed -n "s/^$1 *= *//p" "$RECIPE/image.toml" | tr -d '"' | head -n 1
}

require_packages() {
    local missing
    missing=$(while read -r package; do
        dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || echo "$package"
    done <"$CATALOGUE/packages.txt" | paste -sd' ')
    [ -z "$missing" ] || die "Debian packages are missing: apt-get install $missing"
}

# A fixed name and a lock: a build that was killed outright is cleaned up by the next one, and two never mix.
# The descriptor stays open in every child, so the lock lasts as long as any of them.
enter_work_directory() {
    local marker=$WORK/.ecs-image-build
    [ ! -e "$WORK" ] || [ -e "$marker" ] || [ -z "$(ls -A "$WORK")" ] ||
        die "$WORK is not empty and not a work directory of an image build; choose another one with --work"
    while true; do
        mkdir -p "$WORK" || die "cannot make the work directory $WORK"
        exec {WORK_LOCK}<"$WORK"
        flock -n "$WORK_LOCK" || die "another build is using $WORK; wait for it or choose another --work"
        [ ! "$WORK" -ef "/proc/self/fd/$WORK_LOCK" ] || break # it was not removed between opening and locking
        exec {WORK_LOCK}<&-
    done
    trap clean_up EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    remove_contents
    touch "$marker"
    LOG=$WORK/log
}

CHILD=''

clean_up() {
    local status=$?
    trap '' INT TERM HUP
    if [ -n "$CHILD" ]; then
        kill -KILL -- "-$CHILD" 2>/dev/null || true
        wait "$CHILD" 2>/dev/null || true
    fi
    remove_contents
    rm -rf -- "$PART"
    rmdir -- "$WORK" || true
    exit "$status"
}

# Mounts below the work directory exist only where mount namespaces are unavailable and a build was interrupted.
remove_contents() {
    local mount
    while read -r mount; do
        umount -l -- "$mount" || die "cannot unmount $mount"
    done < <(awk -v work="$WORK/" 'index($5, work) == 1 { print $5 }' /proc/self/mountinfo | sort -r)
    find "$WORK" -xdev -mindepth 1 -delete
}

# run_step FROM TO COUNT PATTERN TEXT COMMAND...: run with output in $LOG; progress goes from FROM to TO while up to
# COUNT lines that match PATTERN appear. Whatever the command mounts or starts goes away with it, however it ends.
run_step() {
    local from=$1 to=$2 count=$3 pattern=$4 text=$5 seen
    shift 5
    progress "$from" "$text"
    : >"$LOG"
    local isolate=(setsid setpriv --pdeathsig KILL)
    if unshare --mount --pid --fork true 2>/dev/null; then
        isolate+=(unshare --mount --pid --fork --kill-child --mount-proc)
    fi
    "${isolate[@]}" "$@" >"$LOG" 2>&1 </dev/null &
    CHILD=$!
    while kill -0 "$CHILD" 2>/dev/null; do
        seen=$(grep -c -- "$pattern" "$LOG" || true)
        [ "$seen" -le "$count" ] || seen=$count
        [ $((from + (to - from) * seen / count)) -le "$LAST_PROGRESS" ] ||
            progress $((from + (to - from) * seen / count)) "$text"
        sleep 0.3
    done
    wait "$CHILD" || { CHILD='' && fail_step "$text"; }
    CHILD=''
}

fail_step() {
    local reason
    tail -n 30 "$LOG" >&2
    reason=$(grep -m 1 -E '^(E:|dpkg: error|mke2fs:|qemu-img:)' "$LOG" || true) # the first one is the cause
    die "$IMAGE: failed while $1: ${reason:-$(tail -n 1 "$LOG")}"
}
