# Debian packages into a directory.
# shellcheck shell=bash

# bootstrap VARIANT PACKAGES FROM TO COUNT [MMDEBSTRAP ARGUMENTS...]: fill $ROOT; progress goes from FROM to TO.
# PACKAGES are separated by commas, COUNT is about how many there will be.
bootstrap() {
    local variant=$1 packages=$2 from=$3 to=$4 count=$5
    shift 5
    progress 1 "reading the host's package sources"
    host_archives >"$WORK/archives"
    grep -q " $DEBIAN_RELEASE main$" "$WORK/archives" ||
        die "apt has no usable Debian $DEBIAN_RELEASE source on this host; check /etc/apt/sources.list* and apt-get update"
    sources_list <"$WORK/archives" >"$WORK/sources.list"
    host_apt_options >"$WORK/apt.conf"
    set -- mmdebstrap --verbose --mode=root --variant="$variant" --architectures=amd64 --include="$packages" \
        --aptopt="$WORK/apt.conf" --dpkgopt=force-unsafe-io "$@" "$DEBIAN_RELEASE" "$ROOT" "$WORK/sources.list"
    [ -z "$STATE" ] || state_of "$@"
    run_step "$from" "$to" "$count" '^Setting up ' "installing packages" "$@"
    rm -f "$ROOT"/etc/{apt/apt.conf.d,dpkg/dpkg.cfg.d}/99mmdebstrap # the host's ways are not the guest's
}

# kernel_version: the only kernel below $ROOT.
kernel_version() { basename "$(echo "$ROOT"/lib/modules/*)"; }

# state_of MMDEBSTRAP ARGUMENTS...: instead of installing anything print what would be installed, as one word, and end.
state_of() {
    local program=$1
    shift
    "$program" --simulate "$@" >"$LOG" 2>&1 </dev/null || fail_step "looking for packages"
    {
        sed -n 's/^Inst \([^ ]* ([^ ]*\).*/\1/p' "$LOG" | LC_ALL=C sort -u
        cd "$CATALOGUE" && find build lib "$IMAGE" -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum
    } | sha256sum | cut -c 1-32
    exit 0
}
