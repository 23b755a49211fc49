# shellcheck shell=bash
# libvirt, the group and the configuration file. Needs common.sh.

libvirt_uri=qemu:///system

# remember FILE LINE: what was made, so that it can be taken away; each line once.
remember() {
    mkdir -p "$(dirname "$1")"
    grep -qxF -- "$2" "$1" 2>/dev/null || printf '%s\n' "$2" >>"$1"
}

# recalled FILE KEY: the rest of the latest line of that key, or nothing.
recalled() {
    [[ -e $1 ]] || return 0
    sed -n "s/^$2 //p" "$1" | tail -n 1
}

libvirt_answers() { timeout 60 virsh -q -c "$libvirt_uri" uri; }

# open_kvm RECORD: libvirt asks its unprivileged user's QEMU what it can do, at every call, for as long as that user cannot
# open the device: seconds each time. udev gives it to the group kvm; where no udev runs we do.
open_kvm() {
    [[ -c /dev/kvm ]] || return 0
    if ! runuser -u libvirt-qemu -- test -r /dev/kvm -a -w /dev/kvm; then
        remember "$1" "kvm $(stat -c '%U:%G %a' /dev/kvm)"
        chown root:kvm /dev/kvm
        chmod 0660 /dev/kvm
        note "gave the group kvm access to /dev/kvm"
    fi
}

# ensure_libvirt RECORD: libvirtd and virtlogd run and answer.
ensure_libvirt() {
    open_kvm "$1"
    if have_systemd; then
        libvirt_answers >>"$log" 2>&1 || logged "starting libvirtd" systemctl start virtlogd.socket libvirtd.service
    else
        # virtlogd first: QEMU's output goes through it from the start.
        if ! answers /run/libvirt/virtlogd-sock; then
            logged "starting virtlogd" without_descriptors virtlogd -d
            remember "$1" "virtlogd $(cat /run/virtlogd.pid)"
        fi
        if ! libvirt_answers >>"$log" 2>&1; then
            # QEMU inherits it, and has a file open for each snapshot of each disk: 17 disks with 64 of them.
            ulimit -n 8192 2>>"$log" || true
            logged "starting libvirtd" without_descriptors libvirtd -d
            remember "$1" "libvirtd $(cat /run/libvirtd.pid)"
        fi
    fi
    until_ok 60 libvirtd libvirt_answers ||
        die "libvirtd does not answer at $libvirt_uri; see ${log} and 'virsh -c $libvirt_uri uri'"
    note "$(virsh -q -c "$libvirt_uri" version | sed -n 's/^Running hypervisor: //p'), libvirt $(libvirtd --version | sed 's/.* //')"
}

# ensure_group NAME RECORD
ensure_group() {
    getent group "$1" >/dev/null && return
    remember "$2" "group $1"
    groupadd --system "$1"
    note "created the group $1: its members may use ecsctl without root"
}

# check_uplink VALUE: auto, none or an interface of this host, or die.
check_uplink() {
    [[ $1 == auto || $1 == none || -e /sys/class/net/$1 ]] || die "--uplink $1: this host has no such interface (auto, none or one of: $(
        find /sys/class/net -mindepth 1 ! -name lo -printf '%f\n' | sort | tr '\n' ' '
    ))"
}

# write_config FILE UPLINK: with the defaults if there is none; UPLINK, if not empty, is changed in one that exists.
write_config() {
    local file=$1 uplink=$2
    if [[ ! -e $file ]]; then
        mkdir -p "$(dirname "$file")"
        cat >"$file.new" <<END
# The agent's configuration. What is not said here has its default; docs/configuration.md lists them all.

# Where guests may reach out of this host: none, auto (the interface of the default route) or an interface.
uplink = "${uplink:-auto}"
END
        mv "$file.new" "$file"
        note "wrote $file"
    elif [[ -n $uplink ]] && ! grep -qx "uplink = \"$uplink\"" "$file"; then
        # Before the first table, where a top-level key must be.
        awk -v line="uplink = \"$uplink\"" '
            /^[ \t]*uplink[ \t]*=/ { next }
            /^[ \t]*\[/ && !done { print line; done = 1 }
            { print }
            END { if (!done) print line }' "$file" >"$file.new"
        chmod --reference="$file" "$file.new"
        mv "$file.new" "$file"
        note "uplink is now $uplink in $file"
    fi
}

# configured FILE KEY: the value in force, from the agent's own reading of the file, or die with what is wrong with it.
# Needs $venv.
configured() {
    python_clean "$venv/bin/python" -P -c '
import sys
from pathlib import Path
from agent import config
try:
    print(getattr(config.load(Path(sys.argv[1])), sys.argv[2]))
except config.ConfigError as error:
    sys.exit(f"quickstart: {error}")' "$1" "$2"
}

# make_link PATH TARGET: a symbolic link, never over something that is not ours.
make_link() {
    if [[ -e $1 || -L $1 ]]; then
        [[ -L $1 && $(readlink "$1") == "$2" ]] || die "$1 exists and is not ours: move it away"
    else
        ln -s "$2" "$1"
        note "$1 → $2"
    fi
}
