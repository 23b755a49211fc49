"""Facts about a Linux system, read from its files."""

from __future__ import annotations

import gzip
import lzma
import subprocess
from pathlib import Path

import pytest

from agent.drivers.image.inside import initramfs, linux, network, services
from agent.drivers.image.inside.guest import Guest
from tests.support.guest_tree import TreeHandle


def _archive(*names: str) -> bytes:
    """A "newc" archive of empty files."""
    found = b""
    for name in (*names, "TRAILER!!!"):
        text = name.encode() + b"\0"
        header = b"070701" + b"".join(
            b"%08X" % number for number in (1, 0o100644, 0, 0, 1, 0, 0, 0, 0, 0, 0, len(text), 0)
        )
        entry = header + text
        found += entry + b"\0" * (-len(entry) % 4)
    return found


MODULES = _archive("kernel/x86", "usr/lib/modules/6.1/kernel/drivers/block/virtio_blk.ko.xz", "lib/virtio-pci.ko")


def _compressed(kind: str) -> bytes:
    if kind in ("zstd", "lz4"):
        return subprocess.run([kind, "-c"], input=MODULES, capture_output=True, check=True).stdout
    return {"gzip": gzip.compress, "xz": lzma.compress, "plain": bytes}[kind](MODULES)


@pytest.mark.parametrize("kind", ["plain", "gzip", "xz", "zstd", "lz4"])
def test_drivers_are_found_in_every_kind_of_initramfs(tmp_path: Path, kind: str) -> None:
    handle = TreeHandle(
        tmp_path,
        {
            "/lib/modules/6.1.0-1-amd64/modules.dep": "kernel/drivers/net/virtio_net.ko: kernel/x.ko\n",
            "/lib/modules/5.10.0-1-amd64/modules.builtin": "kernel/drivers/block/virtio_blk.ko\n",
            "/boot/initrd.img-5.10.0-1-amd64": "no archive",
            "/boot/initrd.img-6.1.0-1-amd64": "",
        },
    )
    microcode = _archive("kernel/x86/microcode/GenuineIntel.bin")  # as it comes first, not compressed
    (tmp_path / "boot/initrd.img-6.1.0-1-amd64").write_bytes(microcode + b"\0" * 512 + _compressed(kind))
    old, new = initramfs.kernels(Guest(handle))
    assert old["drivers"] == {"virtio_blk": "built in", "virtio_pci": "unknown", "virtio_net": "unknown"}
    assert new["version"] == "6.1.0-1-amd64"
    assert new["drivers"] == {"virtio_blk": "initramfs", "virtio_pci": "initramfs", "virtio_net": "module"}


def test_what_cannot_be_read_is_told_as_unknown(tmp_path: Path) -> None:
    handle = TreeHandle(tmp_path, {"/lib/modules/6.1.0/modules.dep": "", "/boot/initrd.img-6.1.0": ""})
    broken = [b"070701" + b"zz" * 60, MODULES[:200], b"\x1f\x8bgarbage", b"BZhgarbage", b"\xfd7zXZ\0x", b"what"]
    broken += [_compressed(kind)[:-20] for kind in ("gzip", "xz")] + [b"\x28\xb5\x2f\xfdx", b"\x02\x21\x4c\x18x"]
    for content in broken:
        (tmp_path / "boot/initrd.img-6.1.0").write_bytes(content)
        [kernel] = initramfs.kernels(Guest(handle))
        assert set(kernel["drivers"].values()) == {"unknown"}, content


def test_interfaces_are_found_in_every_way_of_configuring_them(tmp_path: Path) -> None:
    handle = TreeHandle(
        tmp_path,
        {
            "/etc/network/interfaces": "auto lo\niface lo inet loopback\nauto eth0\niface eth0 inet dhcp\n",
            "/etc/sysconfig/network-scripts/ifcfg-eth1": 'DEVICE="eth1"\nIPADDR=10.0.0.1\n',
            "/etc/sysconfig/network-scripts/ifcfg-lo": "DEVICE=lo\nIPADDR=127.0.0.1\n",
            "/etc/systemd/network/a.network": "[Match]\nName=en*\n[Network]\nDHCP=yes\n",
            "/etc/systemd/network/b.network": "[Match]\nName=ens9\n[Network]\nAddress=10.0.0.2/24\n",
            "/etc/NetworkManager/system-connections/c": "[connection]\ninterface-name=ens3\n"
            "[ipv4]\naddress1=10.0.0.3/24\n",
            "/etc/netplan/d.yaml": "network:\n  ethernets:\n    ens4:\n      dhcp4: true\n    ens5:\n"
            "      addresses: [10.0.0.4/24]\n  version: 2\n",
        },
    )
    found = {one["name"]: one["method"] for one in network.interfaces(Guest(handle))}
    assert found == {
        "eth0": "dhcp",
        "eth1": "static",
        "en*": "dhcp",
        "ens9": "static",
        "ens3": "static",
        "ens4": "dhcp",
        "ens5": "static",
    }


def test_the_first_value_counts_and_blocks_do_not() -> None:
    text = "# Port 1\nPort 22\nPort 2222\nPermitRootLogin = no\nPermitRootLogin yes\nMatch User x\nPort 3\n"
    assert services.sshd_values(text) == {"port": ["22", "2222"], "permitrootlogin": ["no", "yes"]}


def test_firewalls_count_when_they_refuse_something(tmp_path: Path) -> None:
    wants = "/etc/systemd/system/multi-user.target.wants"
    files = {f"{wants}/{name}.service": "" for name in ("nftables", "iptables", "firewalld")}
    rules = {"/etc/nftables.conf": "table inet filter { chain input { type filter hook input priority 0; } }\n"}
    handle = TreeHandle(tmp_path, files | rules | {"/etc/sysconfig/iptables": "-A INPUT -j REJECT\n"})
    guest = Guest(handle)
    assert services.firewalls(guest, services.enabled(guest)) == ["firewalld", "iptables"]


def test_what_starts_is_found_whatever_starts_it(tmp_path: Path) -> None:
    places = [
        "/etc/systemd/system/sockets.target.wants/ssh.socket",
        "/etc/runlevels/default/dropbear",
        "/etc/rc3.d/S55sshd",
        "/etc/init/ssh.conf",
    ]
    handle = TreeHandle(tmp_path, dict.fromkeys(places, ""))
    assert services.enabled(Guest(handle)) == {"ssh", "dropbear", "sshd"}


def test_a_system_says_what_it_is(tmp_path: Path) -> None:
    text = 'NAME="AlmaLinux"\nID="almalinux"\nID_LIKE="rhel"\nPRETTY_NAME="AlmaLinux 9.4"\n'
    guest = Guest(TreeHandle(tmp_path, {"/usr/lib/os-release": text}))
    assert (linux.name(guest), linux.identifier(guest)) == ("AlmaLinux 9.4", "almalinux")
    assert linux.identifier(Guest(TreeHandle(tmp_path / "none", {}))) == ""


def test_small_readers() -> None:
    assert linux.datasources("datasource_list: [ NoCloud, None ]") == ["NoCloud", "None"]
    assert linux.datasources("a: 1\ndatasource_list:\n  - Ec2\n  - NoCloud\n") == ["Ec2", "NoCloud"]
    states = {"root:$6$x:1": "password", "root:!:1": "locked", "root::1": "empty", "bin:*:1": "missing"}
    assert {line: linux.root_state(line) for line in states} == states
    assert linux.fstab("# none\n/dev/vda1 / ext4\nbroken\n") == [
        {"device": "/dev/vda1", "mount": "/", "type": "ext4", "options": "defaults"}
    ]
