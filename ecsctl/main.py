"""The command `ecsctl`."""

from __future__ import annotations

import click

from ecsctl.cli import Root, common_options

_COMMANDS = {
    "instance": "Virtual machines: create, list, start, stop, log in.",
    "vnc": "An instance's screen in the browser.",
    "image": "Images that instances start from.",
    "bucket": "Buckets: where images are imported from and exported to.",
    "task": "Imports, exports and other long work.",
    "key-pair": "SSH key pairs of instances.",
    "security-group": "Firewall groups and their rules.",
    "vpc": "Private networks.",
    "vswitch": "Subnets of private networks.",
    "route": "Where packets of a private network go.",
    "eip": "Elastic public addresses.",
    "port-forward": "Ports of the host that lead to instances.",
    "disk": "Disks.",
    "snapshot": "Snapshots of disks.",
    "snapshot-policy": "When snapshots are taken by themselves.",
    "role": "RAM roles: what programs may do, and who may act as them.",
    "policy": "RAM policies: what is allowed and what is not.",
    "account": "Accounts of the host, which know nothing of each other.",
    "caller": "As whom the agent sees you.",
    "tag": "Tags of resources.",
    "region": "Regions.",
    "zone": "Zones of the region.",
    "type": "Instance types.",
    "job": "Operations in progress and past ones.",
    "host": "The machine itself: capacity, acceleration.",
    "config": "Profiles, access key, environment and ssh configuration.",
    "completion": "Shell completion for bash, zsh and fish.",
    "version": "Versions of ecsctl and of the agent.",
    "dial-stdio": "",
}

_EPILOG = """\b
NAME and id are the same to every command. Settings: flag, then environment,
then profile, then default. ECSCTL_ENDPOINT, ECSCTL_REGION, ECSCTL_PROFILE,
ECSCTL_CA, ALIBABA_CLOUD_ACCESS_KEY_ID, ALIBABA_CLOUD_ACCESS_KEY_SECRET,
ALIBABA_CLOUD_SECURITY_TOKEN; ECSCTL_HOME (default ~/.ecsctl), NO_COLOR, ECSCTL_DEBUG=1.

\b
--query takes JMESPath over what -o json prints.

\b
Exit status: 0 done; 1 refused or failed; 2 wrong usage; 3 not found;
4 forbidden or wrong credentials; 5 agent not reachable; 6 timed out;
130 interrupted. `instance ssh` and `instance cp` end as ssh and scp do.
"""


@click.group(
    cls=Root,
    lazy={
        name: (f"ecsctl.commands.{name.replace('-', '_')}", name.replace("-", "_"), text)
        for name, text in _COMMANDS.items()
    },
    params=common_options(hidden=False),
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
def cli() -> None:
    """Elastic Compute Service on your own hosts."""


def main() -> None:
    """Entry point of the console script."""
    cli(prog_name="ecsctl", complete_var="_ECSCTL_COMPLETE")
