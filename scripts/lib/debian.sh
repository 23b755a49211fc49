# shellcheck shell=bash
# What this host must be, and the Debian packages. Needs common.sh.

apt_lock_seconds=600   # how long another apt or dpkg may keep us waiting
apt_options=(-o "DPkg::Lock::Timeout=$apt_lock_seconds" -o Dpkg::Options::=--force-confdef
    -o Dpkg::Options::=--force-confold -o Dpkg::Use-Pty=0)

os_release_file=/etc/os-release

# check_debian: Debian 12 or later on amd64, or die.
check_debian() {
    local id version codename
    id=$(os_release ID)
    version=$(os_release VERSION_ID)
    codename=$(os_release VERSION_CODENAME)
    [[ $id == debian ]] || die "this is ${id:-an unknown system}; Debian 12 or later is needed"
    # Testing and unstable have no number yet: they are later than any release.
    [[ -z $version && -n $codename ]] || ((${version:-0} >= 12)) || die "this is Debian ${version:-?}; 12 or later is needed"
    [[ $(dpkg --print-architecture) == amd64 ]] ||
        die "this is Debian for $(dpkg --print-architecture); amd64 is needed"
}

os_release() { sed -n "s/^$1=\"\\?\\([^\"]*\\)\"\\?\$/\\1/p" "$os_release_file"; }

# check_room DIRECTORY DISK_MIB MEMORY_MIB: enough of both, or die. The directory may not exist yet.
check_room() {
    local directory=$1 disk memory
    until [[ -d $directory ]]; do directory=$(dirname "$directory"); done
    disk=$(df --output=avail -BM "$directory" | tail -n 1 | tr -dc 0-9)
    memory=$(($(sed -n 's/^MemAvailable: *\([0-9]*\) kB/\1/p' /proc/meminfo) / 1024))
    ((disk >= $2)) || die "$directory has $disk MiB of free disk space; $2 MiB are needed"
    ((memory >= $3)) || die "this host has $memory MiB of free memory; $3 MiB are needed"
    note "$disk MiB of disk and $memory MiB of memory are free"
}

# listed FILE…: the package names in list files (one a line, # comments).
listed() { sed 's/#.*//' "$@" | tr -s '[:space:]' '\n' | sed '/^$/d' | sort -u; }

# missing_packages FILE…: those of the lists that are not installed.
missing_packages() {
    # The status is also that of a package asked for and unknown: only the lines count.
    comm -23 <(listed "$@") <(dpkg-query -W -f '${Package} ${db:Status-Status}\n' | sed -n 's/ installed$//p' | sort -u)
}

# install_packages RECORD FILE…: install what is missing of the lists and note it in RECORD.
install_packages() {
    local record=$1 missing
    shift
    export DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1
    missing=$(missing_packages "$@")
    if [[ -z $missing ]]; then
        note "all there"
        return
    fi
    mkdir -p "$(dirname "$record")"
    cat <(printf '%s\n' "$missing") "$record" 2>/dev/null | sort -u >"$record.new" || true
    mv "$record.new" "$record"
    # A killed dpkg leaves its journal: nothing can be installed before that is settled.
    if compgen -G '/var/lib/dpkg/updates/[0-9]*' >/dev/null; then
        logged "finishing what an interrupted dpkg left" retried dpkg --configure -a --force-confdef --force-confold
    fi
    logged "fetching package lists" retried apt-get "${apt_options[@]}" update
    # shellcheck disable=SC2206  # one word a package
    local -a command=(apt-get "${apt_options[@]}" install -y --no-install-recommends --fix-broken $missing)
    logged "fetching $(wc -w <<<"$missing") packages and what they need" retried "${command[@]}" --download-only
    to_the_end=1
    logged "installing $(tr '\n' ' ' <<<"$missing")" retried "${command[@]}"
    to_the_end=
}

# retried COMMAND…: again and again while it fails only because another program holds a lock of apt or dpkg.
retried() {
    local began=$SECONDS output status
    while true; do
        status=0
        output=$("$@" 2>&1) || status=$?
        printf '%s\n' "$output"
        if ((status == 0)) || ! grep -qiE 'could not get lock|frontend lock|database.* is locked|unable to lock' <<<"$output"; then
            return "$status"
        fi
        ((SECONDS - began < apt_lock_seconds)) || return "$status"
        sleep 2
    done
}
