"""Which archives an image is built from, and which of them its guests are told about (images/lib/sources.sh)."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

SOURCES = Path(__file__).parents[2] / "images" / "lib" / "sources.sh"
RELEASE = "Origin: {origin}\nLabel: {origin}\nSuite: x\nCodename: {codename}\nComponents: main\nArchitectures: amd64\n"


def shell(command: str, text: str = "", **environment: str) -> list[str]:
    result = subprocess.run(
        ["bash", "-c", f". {SOURCES}; {command}"],
        input=text,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


def apt_with(directory: Path, archives: list[tuple[str, str, str]]) -> str:
    """An apt configuration whose sources and fetched Release files are (host, codename, origin)."""
    lists = directory / "lists"
    (lists / "partial").mkdir(parents=True)
    sources = directory / "sources.list"
    lines = [f"deb [trusted=yes] http://{host}/debian {codename} main\n" for host, codename, _ in archives]
    sources.write_text("".join(lines))
    for host, codename, origin in archives:
        name = f"{host}_debian_dists_{codename}"
        (lists / f"{name}_InRelease").write_text(RELEASE.format(origin=origin, codename=codename))
        (lists / f"{name}_main_binary-amd64_Packages").touch()
    config = directory / "apt.conf"
    config.write_text(
        f'Dir::Etc::SourceList "{sources}"; Dir::Etc::SourceParts "/dev/null"; Dir::State::Lists "{lists}";\n'
        'APT::Architecture "amd64"; APT::Architectures { "amd64"; };\n'
    )
    return str(config)


def test_only_debian_archives_of_the_release_are_used(tmp_path: Path) -> None:
    config = apt_with(
        tmp_path,
        [
            ("one.test", "bookworm", "Debian"),
            ("two.test", "bookworm-security", "Debian"),
            ("two.test", "bookworm-backports", "Debian Backports"),
            ("vendor.test", "bookworm", "Vendor"),
            ("old.test", "bullseye", "Debian"),
        ],
    )
    assert shell("list_archives", APT_CONFIG=config) == [
        "http://one.test/debian/ bookworm main",
        "http://two.test/debian/ bookworm-security main",
    ]


def test_sources_are_verified_with_debian_keys_only() -> None:
    assert shell("sources_list", "http://one.test/debian/ bookworm main\n") == [
        "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://one.test/debian/ bookworm main"
    ]


def test_guests_are_told_no_password_and_nothing_they_cannot_reach(tmp_path: Path) -> None:
    mirrors = tmp_path / "mirrors.list"
    mirrors.write_text("# nearest first\nhttps://near.test/debian priority:1\nhttps://far.test/debian\n")
    archives = [
        "http://user:secret@one.test/debian/ bookworm main",
        "file:/srv/mirror/ bookworm main",
        f"mirror+file:{mirrors} bookworm-updates main",
    ]
    lines = shell("guest_sources_list", "\n".join(archives) + "\n")
    assert [line.split("] ")[1] for line in lines] == [
        "http://one.test/debian/ bookworm main",
        "https://near.test/debian bookworm-updates main",
    ]
