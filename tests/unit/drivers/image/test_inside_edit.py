"""A Linux system's own files, changed for an instance: what is written, what is kept, and what is made anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agent.drivers.image.inside import edit, network
from agent.drivers.image.inside.guest import Guest, Unusable
from tests.support.guest_tree import TreeHandle

HASH = "$6$ecs.abc$new"
SEED: dict[str, Any] = {
    "instance_id": "i-1",
    "host_name": "web-1",
    "public_keys": ["ssh-ed25519 AAAA one"],
    "password_hash": HASH,
    "mac": "02:00:00:00:00:01",
    "taken_back": "$6$ecs.",
}
SYSTEM = {
    "/etc/passwd": "root:x:0:0:root:/root:/bin/sh\n",
    "/etc/shadow": "daemon:*:1::::::\nroot:$6$old$hash:19000:0:99999:7:::\n",
    "/etc/hosts": "127.0.0.1 localhost",
    "/root/.profile": "",
}
# By way: what makes a system configure its network so, a file that goes out of use, and what is written.
WAYS: dict[str, tuple[dict[str, str], str, str, str]] = {
    network.NETPLAN: (
        {"/etc/netplan/01-netcfg.yaml": "network: {}"},
        "/etc/netplan/01-netcfg.yaml",
        "/etc/netplan/50-ecs.yaml",
        "dhcp4: true",
    ),
    network.WICKED: (
        {"/etc/sysconfig/network/config": "", "/etc/sysconfig/network/ifcfg-eth1": "BOOTPROTO='static'"},
        "/etc/sysconfig/network/ifcfg-eth1",
        "/etc/sysconfig/network/ifcfg-eth0",
        "BOOTPROTO='dhcp'",
    ),
    network.SYSCONFIG: (
        {"/etc/sysconfig/network-scripts/ifcfg-ens3": "DEVICE=ens3\nIPADDR=10.0.0.1"},
        "/etc/sysconfig/network-scripts/ifcfg-ens3",
        "/etc/sysconfig/network-scripts/ifcfg-ecs",
        "HWADDR=02:00:00:00:00:01",
    ),
    network.NETWORK_MANAGER: (
        {
            "/etc/systemd/system/multi-user.target.wants/NetworkManager.service": "",
            "/etc/NetworkManager/system-connections/wired.nmconnection": "[ipv4]\nmethod=manual",
        },
        "/etc/NetworkManager/system-connections/wired.nmconnection",
        "/etc/NetworkManager/system-connections/ecs.nmconnection",
        "method=auto",
    ),
    network.NETWORKD: (
        {
            "/etc/systemd/system/multi-user.target.wants/systemd-networkd.service": "",
            "/etc/systemd/network/10-static.network": "[Network]\nAddress=10.0.0.1/24",
        },
        "/etc/systemd/network/10-static.network",
        "/etc/systemd/network/50-ecs.network",
        "DHCP=ipv4",
    ),
    network.IFUPDOWN: (
        {"/etc/network/interfaces": "auto eth0\niface eth0 inet static\n"},
        "/etc/network/interfaces",
        "/etc/network/interfaces",
        "allow-hotplug ens3\niface ens3 inet dhcp",
    ),
    network.BUSYBOX: (
        {"/etc/network/interfaces": "auto eth0\n", "/etc/alpine-release": "3.20"},
        "/etc/network/interfaces",
        "/etc/network/interfaces",
        "auto eth0\niface eth0 inet dhcp",
    ),
}


def _applied(handle: TreeHandle, **changes: Any) -> dict[str, Any]:
    return edit.apply(Guest(handle), {"seed": {**SEED, **changes}})


def test_name_password_and_keys_are_written_and_all_else_is_kept(tmp_path: Path) -> None:
    handle = TreeHandle(tmp_path, SYSTEM | {"/root/.ssh/authorized_keys": "ssh-rsa BBBB theirs"})
    (tmp_path / "etc/shadow").chmod(0o640)
    _applied(handle)
    assert handle.text("/etc/hostname") == "web-1\n"
    assert handle.text("/etc/hosts") == "127.0.0.1 localhost\n# BEGIN ecs\n127.0.1.1 web-1\n# END ecs\n"
    assert handle.text("/etc/shadow") == f"daemon:*:1::::::\nroot:{HASH}:19000:0:99999:7:::\n"
    assert handle.mode("/etc/shadow") == 0o640
    keys = "# BEGIN ecs\nssh-ed25519 AAAA one\n# END ecs\n"
    assert handle.text("/root/.ssh/authorized_keys") == f"ssh-rsa BBBB theirs\n{keys}"
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    _applied(handle)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_without_key_and_password_ours_go_and_those_of_the_guest_stay(tmp_path: Path) -> None:
    handle = TreeHandle(tmp_path, SYSTEM)
    _applied(handle)
    _applied(handle, public_keys=[], password_hash=None)
    assert handle.text("/root/.ssh/authorized_keys") == ""
    assert "root:*:19000" in handle.text("/etc/shadow")
    (tmp_path / "etc/shadow").write_text("root:$6$theirs$x:1::::::\n")
    _applied(handle, public_keys=[], password_hash=None)
    assert handle.text("/etc/shadow") == "root:$6$theirs$x:1::::::\n"
    assert edit.with_root_hash("daemon:*:1::::::\n", HASH, "$6$ecs.").startswith(f"root:{HASH}:")


def test_sshd_lets_root_in_as_wanted_whatever_follows(tmp_path: Path) -> None:
    handle = TreeHandle(tmp_path, SYSTEM | {"/etc/ssh/sshd_config": "PermitRootLogin no\n"})
    _applied(handle)
    wanted = "# BEGIN ecs\nPermitRootLogin yes\nPasswordAuthentication yes\n# END ecs\n"
    assert handle.text("/etc/ssh/sshd_config") == f"{wanted}PermitRootLogin no\n"
    _applied(handle, password_hash=None)
    assert handle.text("/etc/ssh/sshd_config").splitlines()[1:3] == [
        "PermitRootLogin without-password",
        "PasswordAuthentication no",
    ]


@pytest.mark.parametrize("way", WAYS)
def test_the_network_is_asked_for_by_dhcp_in_the_systems_own_way(tmp_path: Path, way: str) -> None:
    files, old, new, text = WAYS[way]
    handle = TreeHandle(tmp_path, SYSTEM | files)
    for _ in range(2):
        assert _applied(handle)["network"] == way
        assert text in handle.text(new)
        assert handle.text(f"{old}.bak") == files[old]
        assert old == new or not handle.exists(old)


def test_a_new_instance_has_an_identity_of_its_own_and_keeps_it(tmp_path: Path) -> None:
    theirs = {
        "/etc/machine-id": "0123456789abcdef0123456789abcdef\n",
        "/var/lib/dbus/machine-id": "0123456789abcdef0123456789abcdef\n",
        "/etc/ssh/ssh_host_ed25519_key": "private",
        "/etc/ssh/ssh_host_dsa_key": "private",
        "/etc/dropbear/dropbear_ed25519_host_key": "private",
        "/etc/selinux/config": "SELINUX=enforcing\n",
    }
    handle = TreeHandle(tmp_path, SYSTEM | theirs)
    assert _applied(handle)["new_identity"]
    own = handle.text("/etc/machine-id")
    assert own not in theirs.values()
    assert own == handle.text("/var/lib/dbus/machine-id")
    key = handle.text("/etc/ssh/ssh_host_ed25519_key")
    assert "OPENSSH PRIVATE KEY" in key
    assert handle.text("/etc/ssh/ssh_host_ed25519_key.pub").startswith("ssh-ed25519 ")
    assert not handle.exists("/etc/ssh/ssh_host_dsa_key")
    assert not handle.exists("/etc/ssh/ssh_host_rsa_key")
    assert not handle.exists("/etc/dropbear/dropbear_ed25519_host_key")
    assert handle.exists("/.autorelabel")
    assert not _applied(handle, host_name="web-2")["new_identity"]
    assert (handle.text("/etc/machine-id"), handle.text("/etc/ssh/ssh_host_ed25519_key")) == (own, key)
    assert _applied(handle, instance_id="i-2")["new_identity"]
    assert handle.text("/etc/machine-id") != own


def test_what_cannot_be_done_is_said(tmp_path: Path) -> None:
    handle = TreeHandle(tmp_path, SYSTEM)
    handle.attributes["/etc/shadow"] = "i"
    with pytest.raises(Unusable, match="chattr"):
        _applied(handle)
    handle.attributes.clear()
    (tmp_path / "etc/hosts").write_text("#" * (300 << 10))
    with pytest.raises(Unusable, match="larger than 256 KiB"):
        _applied(handle)
    (tmp_path / "etc/shadow").unlink()
    with pytest.raises(Unusable, match="no /etc/shadow"):
        _applied(handle)
    (tmp_path / "etc/passwd").unlink()
    with pytest.raises(Unusable, match="no Linux system"):
        _applied(handle)
