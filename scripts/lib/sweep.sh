# shellcheck shell=bash
# Takes away, without any help of an agent, what one prefix owns on this host. Needs common.sh.
#
# Every domain is named <prefix>-i-…, every network namespace <prefix>-vpc-…, every link begins with the prefix.

# domains_of PREFIX [running]: names, one a line; all of them or the running ones. Nothing where there is no libvirt.
domains_of() {
    local -a which=(--all)
    [[ ${2:-} != running ]] || which=(--state-running)
    command -v virsh >/dev/null || return 0
    timeout 60 virsh -q -c "${libvirt_uri:-qemu:///system}" list "${which[@]}" --name 2>>"$log" | grep -E "^$1-i-" || true
}

# sweep_prefix PREFIX LIBVIRT_URI
sweep_prefix() {
    local prefix=$1 uri=$2 name
    [[ $prefix =~ ^[a-z][a-z0-9]{0,3}$ ]] || die "'$prefix' is no prefix"
    while read -r name; do
        timeout 60 virsh -q -c "$uri" destroy "$name" >>"$log" 2>&1 || true # it may be off
        timeout 60 virsh -q -c "$uri" undefine --nvram "$name" >>"$log" 2>&1 || die "cannot undefine the domain $name; see $log"
    done < <(libvirt_uri=$uri domains_of "$prefix")
    while read -r name; do
        ip netns delete "$name"
    done < <(find /run/netns -mindepth 1 -name "$prefix-vpc-*" -printf '%f\n' 2>/dev/null)
    sweep_links "$prefix"
}

# sweep_links PREFIX: taps and veth ends of ours that are still in the host's namespace; never another kind of link.
sweep_links() {
    local name kind
    for kind in tun veth; do
        while read -r name; do
            # A veth's other end goes with it, so it may be gone already.
            if [[ -e /sys/class/net/$name ]]; then ip link delete "$name"; fi
        done < <(ip -o link show type "$kind" 2>/dev/null | sed 's/^[0-9]*: \([^:@]*\).*/\1/' | grep -E "^$1[a-z0-9-]*\$" || true)
    done
}

# sweep_claims DIRECTORY: what dead test runs left. Each directory in it is one claim: its name is a prefix, its file
# `lock` is held for as long as the run lives, and everything else the run made is in it or named by the prefix.
sweep_claims() {
    local claim
    for claim in "$1"/*/; do
        claim=${claim%/}
        [[ -e $claim/lock ]] || continue
        # Held while we sweep, so that no new run takes the name meanwhile.
        (
            flock -n 8 || exit 0
            end_processes_of "$claim"
            sweep_prefix "${claim##*/}" "$(cat "$claim/libvirt-uri" 2>/dev/null || echo qemu:///system)"
            rm -rf "$claim"
        ) 8<>"$claim/lock"
    done
}

# end_processes_of DIRECTORY: those with the directory in their command line: agents and helpers of a dead run.
end_processes_of() {
    local pid
    while read -r pid; do
        if [[ $pid != "$$" && $pid != "$BASHPID" ]]; then kill -KILL "$pid" 2>/dev/null || true; fi
    done < <(grep -alF -- "$1/" /proc/[0-9]*/cmdline 2>/dev/null | cut -d / -f 3)
}
