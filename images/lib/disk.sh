# A directory becomes a disk that BIOS firmware boots: MBR, one ext4 partition, GRUB. No loop device, no mount.
# shellcheck shell=bash

GRUB_MODULES=/usr/lib/grub/i386-pc
PARTITION_START=2048 # sectors; the space before it holds GRUB

# write_disk DIRECTORY FILE.qcow2 GIB
write_disk() {
    local root=$1 output=$2 sectors=$(($3 * 2097152)) raw=$WORK/disk.raw
    local options=offset=$((PARTITION_START * 512)),lazy_itable_init=0,lazy_journal_init=0
    truncate -s $((sectors * 512)) "$raw"
    printf 'label: dos\nstart=%d, type=83, bootable\n' "$PARTITION_START" | sfdisk -q "$raw"
    # The file reads as zeros already: initialising the inode tables now costs nothing, later it would cost the guest.
    run_step 90 92 1 '^$' "writing the file system" \
        mke2fs -q -F -t ext4 -L root -m 1 -E "$options" -d "$root" "$raw" "$(((sectors - PARTITION_START) / 2))k"
    install_grub "$raw"
    run_step 93 99 1 '^$' "writing $(basename "$OUTPUT")" \
        qemu-img convert -f raw -O qcow2 -c -o compression_type=zstd "$raw" "$output"
}

# The boot sector loads GRUB's core from the sectors behind it; the core reads /boot/grub/grub.cfg of the partition.
install_grub() {
    local raw=$1 core=$WORK/core.img
    grub-mkimage -d "$GRUB_MODULES" -O i386-pc -p '(hd0,msdos1)/boot/grub' -o "$core" \
        biosdisk part_msdos ext2 normal configfile linux search search_fs_uuid search_label \
        test echo ls cat serial terminal gzio minicmd
    [ "$(stat -c %s "$core")" -le $(((PARTITION_START - 1) * 512)) ] || die "GRUB's core image is too big for its gap"
    dd if="$GRUB_MODULES/boot.img" of="$raw" bs=440 count=1 conv=notrunc status=none
    dd if="$core" of="$raw" bs=512 seek=1 conv=notrunc status=none
}
