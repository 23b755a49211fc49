"""Private keys for PuTTY, read back by its own puttygen (SPEC K5)."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa

from ecsctl.errors import UsageFault
from ecsctl.ppk import ppk

KEYS = {
    "rsa": lambda: rsa.generate_private_key(65537, 2048),
    "ecdsa-256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ecdsa-521": lambda: ec.generate_private_key(ec.SECP521R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
}
PASSPHRASE = "correct horse, Batterie für Staple"


def pem_of(key, form: serialization.PrivateFormat = serialization.PrivateFormat.PKCS8) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def puttygen(*arguments: str | Path) -> str:
    done = subprocess.run(["puttygen", *arguments], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def fingerprint(path: Path) -> str:
    """What OpenSSH's own tool says of a private key."""
    done = subprocess.run(["ssh-keygen", "-l", "-f", path], check=True, capture_output=True, text=True)
    return done.stdout.split()[1]


@pytest.mark.parametrize("passphrase", ["", PASSPHRASE])
@pytest.mark.parametrize("kind", KEYS)
def test_puttygen_takes_it_and_gives_the_same_key_back(tmp_path: Path, kind: str, passphrase: str) -> None:
    key = KEYS[kind]()
    pem, file, back = tmp_path / "key.pem", tmp_path / "key.ppk", tmp_path / "back"
    pem.write_bytes(pem_of(key, serialization.PrivateFormat.OpenSSH))
    pem.chmod(0o400)
    file.write_text(ppk(pem_of(key), "mine", passphrase))
    words = tmp_path / "passphrase"
    words.write_text(passphrase)
    old = ("--old-passphrase", words) if passphrase else ()
    new = tmp_path / "empty"
    new.write_text("")
    puttygen(file, "-O", "private-openssh-new", "-o", back, *old, "--new-passphrase", new)
    back.chmod(0o400)
    assert fingerprint(back) == fingerprint(pem)
    assert fingerprint(pem) in puttygen("-l", file)
    found = serialization.load_ssh_private_key(back.read_bytes(), None)
    assert pem_of(found) == pem_of(key)


def test_every_number_keeps_its_sign(tmp_path: Path) -> None:
    """Numbers with and without the top bit: each key's is as good as a coin, and twenty have both."""
    file, out = tmp_path / "key.ppk", tmp_path / "private"
    for _ in range(20):
        key = ec.generate_private_key(ec.SECP256R1())
        file.write_text(ppk(pem_of(key), "x"))
        puttygen(file, "-O", "private-openssh-new", "-o", out)
        found = serialization.load_ssh_private_key(out.read_bytes(), None)
        assert isinstance(found, ec.EllipticCurvePrivateKey)
        assert found.private_numbers() == key.private_numbers()


def test_the_form() -> None:
    lines = ppk(pem_of(KEYS["rsa"]()), "my key").splitlines()
    assert lines[:3] == ["PuTTY-User-Key-File-3: ssh-rsa", "Encryption: none", "Comment: my key"]
    assert lines[-1].startswith("Private-MAC: ")
    assert max(map(len, lines)) <= 77
    encrypted = ppk(pem_of(KEYS["rsa"]()), "my key", "secret")
    assert "Key-Derivation: Argon2id\n" in encrypted
    assert encrypted != ppk(pem_of(KEYS["rsa"]()), "my key", "secret")  # a fresh salt


def test_other_keys_are_refused() -> None:
    with pytest.raises(UsageFault, match="no private key that can be read"):
        ppk(b"nothing", "x")
    with pytest.raises(UsageFault, match="RSA, ECDSA or Ed25519"):
        ppk(pem_of(dsa.generate_private_key(2048)), "x")
    locked = KEYS["rsa"]().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
    )
    with pytest.raises(UsageFault, match="passphrase of its own"):
        ppk(locked, "x")


def test_created_with_a_ppk_beside_it(peer, setting, ecsctl) -> None:
    body = pem_of(KEYS["rsa"]()).decode()
    peer.answers["CreateKeyPair"] = {"KeyPairName": "mine", "KeyPairFingerPrint": "aa", "PrivateKeyBody": body}
    pem, file = ecsctl("key-pair", "create", "mine", "--ppk").stdout.splitlines()
    for path in (Path(pem), Path(file)):
        assert path.stat().st_mode & 0o777 == 0o400
    assert Path(file).name == "mine.ppk"
    puttygen("-l", file)

    again = ecsctl("key-pair", "create", "mine", "--ppk", "--out", f"{setting.directory}/other.pem")
    assert again.stdout.splitlines()[1].endswith("/other.ppk")


def test_converted_afterwards(setting, ecsctl, tmp_path: Path) -> None:
    pem = tmp_path / "key.pem"
    pem.write_bytes(pem_of(KEYS["ed25519"]()))
    assert ecsctl("key-pair", "ppk", str(pem)).stdout == f"{tmp_path}/key.ppk\n"
    assert "exists" in ecsctl("key-pair", "ppk", str(pem), status=2).stderr
    out = tmp_path / "locked.ppk"
    ecsctl("key-pair", "ppk", str(pem), "--out", str(out), "--passphrase-stdin", stdin=f"{PASSPHRASE}\n")
    assert "Encryption: aes256-cbc" in out.read_text()
    assert out.stat().st_mode & 0o777 == 0o400
    assert "no file" in ecsctl("key-pair", "ppk", "nobodys", status=2).stderr
