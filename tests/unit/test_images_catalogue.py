"""The image catalogue: every recipe is complete, and the build command refuses what it cannot build."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from agent.drivers.image.catalogue import Catalogue

CATALOGUE = Path(__file__).parents[2] / "images"
RECIPES = sorted(path.parent for path in CATALOGUE.glob("*/image.toml"))
BUILT = [recipe for recipe in RECIPES if (recipe / "build").exists()]
DOWNLOADED = [recipe for recipe in RECIPES if recipe not in BUILT]
KEYS = {
    **dict.fromkeys(("id", "description", "os_name", "os_type", "platform", "version", "architecture"), str),
    **dict.fromkeys(("default_user", "firmware", "machine"), str),
    "size_gib": int,
    "changes": list,
}
DISTRIBUTIONS = {
    *("debian_12_cloud_x64", "debian_13_cloud_x64", "ubuntu_22_04_x64", "ubuntu_24_04_x64", "almalinux_9_x64"),
    *("rocky_9_x64", "opensuse_leap_15_6_x64", "fedora_44_x64", "alpine_3_23_x64", "freebsd_14_x64"),
}


def scripts() -> list[Path]:
    """Every file of the catalogue that a shell runs, and the shared pieces."""
    found = [path for path in CATALOGUE.rglob("*") if path.is_file() and path.read_bytes().startswith(b"#!")]
    return sorted({*found, *CATALOGUE.glob("lib/*.sh"), *CATALOGUE.glob("*/build")})


def build(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([CATALOGUE / "build", *arguments], capture_output=True, text=True, timeout=30)


def test_catalogue_holds_the_public_and_the_test_image() -> None:
    assert [recipe.name for recipe in BUILT] == ["debian_12_x64", "debian_12_x64_minimal", "tiny_x64"]
    assert {recipe.name for recipe in DOWNLOADED} == DISTRIBUTIONS


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.name)
def test_image_description_is_complete(recipe: Path) -> None:
    image = tomllib.loads((recipe / "image.toml").read_text())
    download = image.pop("download", None)
    image.pop("notes", None)
    assert {key: type(value) for key, value in image.items()} == KEYS
    assert image["id"] == recipe.name
    assert image["os_type"] == "linux"
    assert image["architecture"] == "x86_64"
    assert image["size_gib"] in range(1, 25)
    assert all(value for key, value in image.items() if key != "changes")
    assert (download is None) == bool(image["changes"]) == (recipe in BUILT)


def test_the_agent_can_use_every_recipe() -> None:
    found = Catalogue(CATALOGUE, Path("/nonexistent")).recipes()
    assert set(found) == {recipe.name for recipe in RECIPES}
    downloads = {name: recipe.download for name, recipe in found.items() if recipe.download}
    assert set(downloads) == DISTRIBUTIONS
    # What is not signed says so where people look.
    unsigned = {name for name, download in downloads.items() if not download.fingerprints}
    assert {name for name in unsigned if not any("sign" in note for note in found[name].notes)} == set()


@pytest.mark.parametrize("recipe", BUILT, ids=lambda path: path.name)
def test_recipe_says_how_to_fill_the_root(recipe: Path) -> None:
    assert re.search(r"^make_root\(\) \{$", (recipe / "build").read_text(), re.MULTILINE)


@pytest.mark.parametrize("script", scripts(), ids=lambda path: str(path.relative_to(CATALOGUE)))
def test_script_parses(script: Path) -> None:
    first = script.read_text().splitlines()[0]
    shell = "sh" if first == "#!/bin/sh" else "bash"
    result = subprocess.run([shell, "-n", script], capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")


def test_programs_are_executable() -> None:
    programs = [path for path in scripts() if path.read_text().startswith("#!")]
    assert [path for path in programs if path.name != "initramfs-init" and not os.access(path, os.X_OK)] == []


def test_packages_are_one_name_a_line() -> None:
    names = (CATALOGUE / "packages.txt").read_text().splitlines()
    assert names == sorted(set(names))
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9+.-]+", name) for name in names)


def test_no_archive_is_named_where_images_are_built() -> None:
    files = [path for path in CATALOGUE.rglob("*") if path.is_file() and path.parent not in DOWNLOADED]
    texts = {path: path.read_text() for path in files}
    assert [path for path, text in texts.items() if re.search(r"https?://[a-z0-9-]+\.", text)] == []


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((), "usage: images/build ID --output FILE.qcow2"),
        (("tiny_x64",), "usage: "),
        (("tiny_x64", "--output"), "usage: "),
        (("tiny_x64", "--colour", "blue"), "usage: "),
        (("tiny_x64", "debian_12_x64", "--output", "/nonexistent/x.qcow2"), "usage: "),
        (("windows", "--output", "/nonexistent/x.qcow2"), "no image 'windows' in the catalogue"),
        (("../lib", "--output", "/nonexistent/x.qcow2"), "no image '../lib' in the catalogue"),
    ],
)
def test_build_refuses_wrong_arguments_in_one_line(arguments: tuple[str, ...], reason: str) -> None:
    result = build(*arguments)
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert reason in result.stderr
    assert "known ids: debian_12_x64 debian_12_x64_minimal tiny_x64" in result.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="image builds run as root")
def test_build_leaves_a_foreign_directory_alone(tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    (work / "precious").write_text("data")
    result = build("tiny_x64", "--output", str(tmp_path / "x.qcow2"), "--work", str(work))
    assert result.returncode == 1
    assert f"{work} is not empty and not a work directory of an image build" in result.stderr
    assert (work / "precious").read_text() == "data"
    assert not (tmp_path / "x.qcow2").exists()
