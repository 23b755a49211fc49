# What the Debian images have in common: files, boot loader, and that nothing in them identifies an instance.
# shellcheck shell=bash

DEBIAN=$CATALOGUE/lib/debian
KERNEL=linux-image-cloud-amd64,initramfs-tools,grub2-common,grub-pc-bin,apparmor

# Compiling AppArmor's profiles takes an emulated CPU long. The cache is found under the features of the kernel that
# will load it; should a newer kernel have others, the guest compiles them once more.
COMPILE_PROFILES='cp "$DEBIAN/apparmor-features" "$1/tmp/features" &&
    chroot "$1" apparmor_parser --kernel-features /tmp/features --skip-kernel-load --write-cache /etc/apparmor.d'

# bootstrap_debian PACKAGES COUNT [MMDEBSTRAP ARGUMENTS...]: a system with the common files and those of the recipe.
bootstrap_debian() {
    local packages=$1 count=$2
    shift 2
    export RECIPE DEBIAN # for the hooks, which mmdebstrap runs with the new root as their argument
    # The files come before the packages that read them while they are installed (the initramfs, most of all).
    # shellcheck disable=SC2016 # the hooks' variables are for their own shell
    bootstrap minbase "$KERNEL,$packages" 5 80 "$count" "$@" --dpkgopt=force-confold \
        --essential-hook='cp -r --no-preserve=ownership "$DEBIAN/files/." "$RECIPE/files/." "$1"' \
        --customize-hook="$COMPILE_PROFILES"
    progress 82 "configuring the system"
    rm -f "$ROOT"/etc/apt/sources.list.d/*
    guest_sources_list <"$WORK/archives" >"$ROOT/etc/apt/sources.list"
    install -d "$ROOT/boot/grub/i386-pc"
    cp "$DEBIAN/grub.cfg" "$ROOT/boot/grub/" # not earlier: its presence lets kernel packages run update-grub
    cp "$ROOT"/usr/lib/grub/i386-pc/*.{mod,lst} "$ROOT/boot/grub/i386-pc/"
    echo LANG=C.UTF-8 >"$ROOT/etc/default/locale"
    in_root passwd --quiet --lock root
}

in_root() { chroot "$ROOT" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive "$@"; }

# after_ssh UNIT...: these are not needed for the first login, so not in its way. A name may end in @.
after_ssh() {
    local unit
    for unit in "$@"; do
        install -D -m 644 "$DEBIAN/after-ssh.conf" "$ROOT/etc/systemd/system/$unit.d/after-ssh.conf"
    done
}

# Everything that must differ between instances is made at their first boot.
forget_identity() {
    rm -f "$ROOT"/etc/ssh/ssh_host_*_key* "$ROOT"/var/lib/systemd/{random-seed,credential.secret} \
        "$ROOT"/var/lib/dbus/machine-id "$ROOT"/etc/{hostname,resolv.conf,{passwd,group,shadow,gshadow}-} \
        "$ROOT"/var/log/{alternatives,bootstrap,dpkg}.log "$ROOT"/var/cache/debconf/*-old "$ROOT"/var/lib/dpkg/*-old
    rm -rf "$ROOT"/var/log/apt
    : >"$ROOT/etc/machine-id"
    ln -s ../run/systemd/resolve/stub-resolv.conf "$ROOT/etc/resolv.conf"
    echo debian >"$ROOT/etc/hostname"
    touch "$ROOT/etc/.updated" "$ROOT/var/.updated" # nothing under /usr is news to this system
}
