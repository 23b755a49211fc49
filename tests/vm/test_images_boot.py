"""The tiny image under plain QEMU keeps the contract of images/README.md: seed in, SSH login out."""

from __future__ import annotations

import subprocess
from pathlib import Path

import paramiko
import pytest

from tests.support.plain_guest import PlainGuest, run, write_seed
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.vm, pytest.mark.timeout(400)]

BUILD = Path(__file__).parents[2] / "images" / "build"
PASSWORD = "Correct-Horse-7"
BOOTHOOK = """#cloud-boothook
#!/bin/sh
marker=/var/lib/cloud/ecs/{operation}
echo {operation} >>/root/boots
[ ! -e "$marker" ] || exit 0
keys=/root/.ssh/authorized_keys
umask 077
mkdir -p /var/lib/cloud/ecs /root/.ssh /etc/ssh/sshd_config.d
{{
    sed '/^# BEGIN ecs$/,/^# END ecs$/d' $keys
    printf '%s\n' '# BEGIN ecs' '{key}' '# END ecs'
}} >$keys.new
mv $keys.new $keys
echo 'PasswordAuthentication {password_login}' >/etc/ssh/sshd_config.d/50-ecs.conf
printf 'root:%s\n' '{password_hash}' | chpasswd -e
touch "$marker"
"""


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("image") / "tiny_x64.qcow2"
    result = subprocess.run([BUILD, "tiny_x64", "--output", output], capture_output=True, text=True, timeout=200)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    percents = [int(line.split()[1]) for line in lines if line.startswith("progress ")]
    assert len(percents) == len(lines)
    assert percents == sorted(percents)
    assert percents[-1] == 100
    assert [path.name for path in output.parent.iterdir()] == [output.name]
    return output


def public(key: paramiko.PKey) -> str:
    return f"{key.get_name()} {key.get_base64()}"


def seed(directory: Path, key: paramiko.PKey, operation: str, password_hash: str, instance: str = "i-first") -> Path:
    login = "yes" if password_hash.startswith("$") else "no"
    hook = BOOTHOOK.format(operation=operation, key=public(key), password_hash=password_hash, password_login=login)
    meta = f"instance-id: {instance}\nlocal-hostname: {instance}-host\npublic-keys:\n  - {public(key)}\n"
    return write_seed(
        directory,
        {"meta-data": meta, "user-data": "#!/bin/sh\nhostname >>/root/scripts\n", "vendor-data": hook},
    )


def offered(guest: PlainGuest) -> list[str]:
    """The ways to log in that SSH offers."""
    transport = paramiko.Transport(("127.0.0.1", guest.port))
    try:
        transport.start_client(timeout=60)
        with pytest.raises(paramiko.BadAuthenticationType) as refusal:
            transport.auth_none("root")
    finally:
        transport.close()
    return sorted(refusal.value.allowed_types)


def host_key(client: paramiko.SSHClient) -> str:
    transport = client.get_transport()
    assert transport is not None
    return transport.get_remote_server_key().get_base64()


def boot_first(guest: PlainGuest, key: paramiko.PKey) -> str:
    """First boot: key login only, the script has run, files can be copied. The host key."""
    client = guest.connect(120, pkey=key)
    guest.wait_console("tiny: ready", 60)
    assert offered(guest) == ["publickey"]
    assert run(client, "hostname; cat /root/scripts; cat /root/boots").split() == ["i-first-host"] * 2 + ["one"]
    assert run(client, "grep -c ecdsa- /root/.ssh/authorized_keys").strip() == "1"
    with client.open_sftp() as files:
        files.put(str(Path(__file__)), "/root/copy")
        assert files.stat("/root/copy").st_size == Path(__file__).stat().st_size
    return host_key(client)


# Every other test with a guest boots it, with seeds of the agent: test_instance, test_login, test_custom_image.
@pytest.mark.long
def test_tiny_image_keeps_the_contract_of_the_seed(image: Path, tmp_path: Path) -> None:
    first, second = paramiko.ECDSAKey.generate(), paramiko.ECDSAKey.generate()
    with PlainGuest(tmp_path, image, seed(tmp_path, first, "one", "*")) as guest:
        fingerprint = boot_first(guest, first)
        guest.connect(30, pkey=first).exec_command("reboot")
        guest.wait_console("tiny: ready", 120, count=2)
        client = guest.connect(60, pkey=first)
        assert run(client, "cat /root/scripts /root/boots").split() == ["i-first-host", "one", "one"]
        assert host_key(client) == fingerprint
        guest.press_power_button()
        guest.wait_off(60)

    # A new seed for the same instance: another key, a password; no script again, the same host key.
    crypt = subprocess.run(["openssl", "passwd", "-6", PASSWORD], capture_output=True, text=True, check=True)
    with PlainGuest(tmp_path, image, seed(tmp_path, second, "two", crypt.stdout.strip())) as guest:
        client = guest.connect(120, password=PASSWORD)
        assert offered(guest) == ["password", "publickey"]
        assert host_key(client) == fingerprint
        assert run(client, "cat /root/scripts").split() == ["i-first-host"]
        assert public(first) not in run(client, "cat /root/.ssh/authorized_keys")
        guest.connect(30, pkey=second).close()
        client.exec_command("poweroff")
        guest.wait_off(60)

    # The disk under another instance-id: a new name, a new host key, the script once more.
    with PlainGuest(tmp_path, image, seed(tmp_path, second, "two", "*", instance="i-other")) as guest:
        client = guest.connect(120, pkey=second)
        assert host_key(client) != fingerprint
        wait_for("the script", lambda: "i-other-host" in run(client, "cat /root/scripts"), 60)
