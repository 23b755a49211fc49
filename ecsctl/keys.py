"""Private keys we hold: `~/.ecsctl/keys/<key pair>.pem`, mode 0400."""

from __future__ import annotations

from pathlib import Path

from ecsctl.config import home, make_home, write_private

_MODE = 0o400
USUAL = ("id_ed25519", "id_ecdsa", "id_rsa")  # a user's own keys, in ~/.ssh
_MOST_TRIED = 5  # sshd ends a connection at the sixth failure


def key_file(key_pair: str) -> Path:
    """Where the private key of a key pair lies, if we hold it. Names have no `/` (SPEC G2)."""
    return home() / "keys" / f"{key_pair.replace('/', '_')}.pem"


def held() -> list[str]:
    """The key pairs whose private keys we hold."""
    return sorted(path.stem for path in (home() / "keys").glob("*.pem"))


def candidates(key_pair: str) -> list[Path]:
    """The private keys that may open an instance with this key pair: its own, or the user's usual ones if we do not
    hold it, then the newest others we hold.

    Another one is right where a key pair was bound or unbound and the guest was not restarted since (SPEC K3).
    """
    own = key_file(key_pair)
    usual = (Path.home() / ".ssh" / name for name in USUAL)
    first = [own] if own.exists() else [path for path in usual if path.exists()]
    others = (path for path in (home() / "keys").glob("*.pem") if path != own)
    return [*first, *sorted(others, key=lambda path: path.stat().st_mtime, reverse=True)][:_MOST_TRIED]


def keep(key_pair: str, private_key: str, out: Path | None = None) -> Path:
    """Write a private key; where it lies."""
    if out is None:
        make_home("keys")
        out = key_file(key_pair)
    write_private(out, private_key, _MODE)
    return out


def link_file(host: str) -> Path:
    """What the ssh configuration names as private key of a host."""
    return home() / "ssh" / host


def link(host: str, key: Path | None) -> None:
    """Make the private key of a host of the ssh configuration this one, or none."""
    make_home("ssh")
    path = link_file(host)
    if key is not None and path.is_symlink() and path.readlink() == key:
        return
    path.unlink(missing_ok=True)
    if key is not None:
        path.symlink_to(key)
