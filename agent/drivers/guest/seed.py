"""The NoCloud seed of an instance: SeedSpec → files (pure) → an ISO labelled `cidata`; for Windows a second one."""

from __future__ import annotations

import json
import os
import re
import tempfile
from pathlib import Path

from agent.core.errors import DriverError
from agent.core.specs import SeedSpec
from agent.drivers import command, durable, qemu_user
from agent.drivers.guest.boothook import boothook
from agent.drivers.guest.user_data import with_boothook
from agent.drivers.guest.windows import CONFIG_DRIVE_LABEL, config_drive_files, nocloud_files

NEUTRAL_USER_DATA = b"#cloud-config\n{}\n"
LABEL = "cidata"
# The same seed gives the same bytes: every date in the ISO is this one.
DATE = "2000010100000000"
_INSTANCE_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,63}\Z")
_SUFFIX = ".iso"
_CONFIG_DRIVE_SUFFIX = ".config-drive"


def seed_files(spec: SeedSpec) -> dict[str, bytes]:
    """The files of the seed by name. Raises DriverError for a value that no guest could take."""
    if spec.windows is not None:
        return nocloud_files(spec, spec.windows)
    script = boothook(spec)
    return {
        "meta-data": _meta_data(spec).encode(),
        "network-config": _network_config(spec).encode(),
        "user-data": with_boothook(spec.user_data, script) if spec.user_data else NEUTRAL_USER_DATA,
        "vendor-data": script.encode(),
    }


def _meta_data(spec: SeedSpec) -> str:
    """YAML, one `name: value` per line; JSON strings are YAML strings that nothing can break out of."""
    lines = [
        f"instance-id: {_quoted(spec.instance_id)}",
        f"local-hostname: {_quoted(spec.host_name)}",
        f"region: {_quoted(spec.region_id)}",
        f"availability-zone: {_quoted(spec.zone_id)}",
        f"public-keys: {'' if spec.public_keys else '[]'}".rstrip(),
        *(f"  - {_quoted(key)}" for key in spec.public_keys),
    ]
    return "\n".join(lines) + "\n"


# systemd-networkd uses the search domain that DHCP tells only when it is told to.
_DHCP = "    dhcp4: true\n    dhcp4-overrides: {use-domains: true}\n"


def _network_config(spec: SeedSpec) -> str:
    text = (
        f"version: 2\nethernets:\n  eth0:\n    match: {{macaddress: {_quoted(spec.mac)}}}\n    set-name: eth0\n" + _DHCP
    )
    if spec.internet_mac:  # may turn up later: cloud-init waits for cards that it shall give a name
        text += f"  eth1:\n    match: {{macaddress: {_quoted(spec.internet_mac)}}}\n    optional: true\n" + _DHCP
    return text


def _quoted(text: str) -> str:
    if not text.isprintable():
        raise DriverError(f"the seed cannot carry {text!r}: it must be one line of printable characters")
    return json.dumps(text, ensure_ascii=False)


class SeedBuilder:
    """Satisfies core.protocols.Seeds: `<root>/seeds/<instance id>.iso`, readable for root and QEMU only.

    Leftovers of an interrupted call are removed when it is made, so make one per directory.
    """

    def __init__(self, root: Path, image_user: str = qemu_user.DEFAULT) -> None:
        self._directory = root / "seeds"
        self._user = qemu_user.lookup(image_user)
        qemu_user.private_directory(self._directory, self._user)
        durable.sweep(self._directory)

    def write_seed(self, spec: SeedSpec) -> Path:
        """Replaced atomically; a running guest keeps the one it was started with."""
        final = self.seed_path(spec.instance_id)
        files = seed_files(spec)
        if spec.windows is not None:
            drive = self.config_drive_path(spec.instance_id)
            self._write(drive, CONFIG_DRIVE_LABEL, config_drive_files(spec, spec.windows), spec.instance_id)
        self._write(final, LABEL, files, spec.instance_id)
        return final

    def _write(self, final: Path, label: str, files: dict[str, bytes], instance_id: str) -> None:
        try:
            with (
                durable.replacing(final) as temporary,
                tempfile.TemporaryDirectory(prefix=durable.TEMPORARY, dir=self._directory) as staging,
            ):
                for name, content in files.items():
                    path = Path(staging, name)
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(content)
                _make_iso(Path(staging), temporary, label, f"write the seed of {instance_id}")
                os.chown(temporary, 0, self._user.own_gid)
                temporary.chmod(0o440)
        except OSError as error:
            raise DriverError(
                f"cannot write the seed of {instance_id} in {self._directory}: {error.strerror}"
            ) from None

    def delete_seed(self, instance_id: str) -> None:
        """Durable; no-op if there is none."""
        try:
            durable.remove(self.config_drive_path(instance_id))
            durable.remove(self.seed_path(instance_id))
        except OSError as error:
            raise DriverError(f"cannot delete the seed of {instance_id}: {error.strerror}") from None

    def list_seeds(self) -> set[str]:
        return {path.name.removesuffix(_SUFFIX) for path in self._directory.glob(f"[!.]*{_SUFFIX}")}

    def seed_path(self, instance_id: str) -> Path:
        """Where the seed of the instance is, or would be."""
        if not _INSTANCE_ID.match(instance_id):
            raise DriverError(f"{instance_id!r} cannot be an instance id: lower-case letters, digits and '-'")
        return self._directory / (instance_id + _SUFFIX)

    def config_drive_path(self, instance_id: str) -> Path:
        """Where the config drive of a Windows instance is, or would be."""
        return self.seed_path(instance_id).with_suffix(_CONFIG_DRIVE_SUFFIX)


def _make_iso(staging: Path, target: Path, label: str, doing: str) -> None:
    """ISO 9660 with Rock Ridge and Joliet, every file root's and dated DATE."""
    command.run(
        "xorriso",
        *(
            "-report_about",
            "SORRY",
            "-outdev",
            str(target),
            "-volid",
            label,
            "-joliet",
            "on",
            "-rockridge",
            "on",
            "-padding",
            "0",
        ),
        *("-uid", "0", "-gid", "0", "-volume_date", "all_file_dates", DATE, "-volume_date", "uuid", DATE),
        *("-map", str(staging), "/", "-chmod_r", "0444", "/", "--", "-chmod", "0555", "/", "--"),
        *("-alter_date_r", "b", DATE, "/", "--"),
        doing=doing,
        package="xorriso",
    )
