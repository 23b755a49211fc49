"""What keeps guests from running well, told in one line each."""

import os
import shutil
from pathlib import Path

from agent.drivers import qemu_user
from agent.drivers.hypervisor import host

USER = qemu_user.lookup()


def test_a_host_in_good_order(tmp_path: Path) -> None:
    for name in ("kvm", "libvirt", "log"):
        (tmp_path / name).touch()
    shutil.chown(tmp_path / "kvm", 0, USER.gid)
    (tmp_path / "kvm").chmod(0o660)
    found = host.problems(kvm=tmp_path / "kvm", libvirt_socket=tmp_path / "libvirt", log_socket=tmp_path / "log")
    assert found == []


def test_every_problem_says_what_to_do(tmp_path: Path) -> None:
    kvm = tmp_path / "kvm"
    kvm.touch(0o600)
    found = host.problems(kvm=kvm, libvirt_socket=tmp_path / "libvirt", log_socket=tmp_path / "log")
    assert len(found) == 3
    assert "systemctl start libvirtd" in found[0]
    assert "systemctl start virtlogd" in found[1]
    assert f"chown root:kvm {kvm} && chmod 0660 {kvm}" in found[2]
    assert "(root:root 0600)" in found[2]


def test_no_user_for_qemu(tmp_path: Path) -> None:
    found = host.problems("nobody-here", kvm=tmp_path / "kvm", libvirt_socket=tmp_path, log_socket=tmp_path)
    assert found == ["there is no user nobody-here to run QEMU as: apt-get install libvirt-daemon-system"]


def test_may_open_follows_owner_group_others(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    cases = [
        (USER.uid, 0, 0o600, True),
        (USER.uid, 0, 0o066, False),
        (0, USER.gid, 0o660, True),
        (0, USER.own_gid, 0o660, True),
        (0, USER.gid, 0o640, False),
        (0, 0, 0o666, True),
        (0, 0, 0o660, False),
    ]
    for uid, gid, mode, expected in cases:
        os.chown(file, uid, gid)
        file.chmod(mode)
        assert host.may_open(file, qemu_user.DEFAULT) is expected, (uid, gid, oct(mode))


def test_memory_and_processors() -> None:
    total, available = host.memory_mib()
    assert 0 < available <= total
    assert host.cpu_count() >= 1
