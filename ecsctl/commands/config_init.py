"""`ecsctl config init` and `config env`."""

from __future__ import annotations

import os
import shlex
from dataclasses import replace
from urllib.parse import urlsplit

import click

from ecsctl.cli import App, command
from ecsctl.client import RAM, STS, Client
from ecsctl.config import DEFAULT_HTTP, ConfigFile, Settings, resolve
from ecsctl.errors import ApiError, CliError, CredentialsMissing


@command("init")
@click.option("--new-key", is_flag=True, help="Take a new access key although the present one works.")
def init(app: App, new_key: bool) -> None:
    """Get an access key from the agent and write the profile; one that works is kept.

    Needs an endpoint that knows who asks: the agent's socket, or ssh. Another endpoint keeps the key it has.
    """
    file = app.file
    named = app.flags.get("profile") or os.environ.get("ECSCTL_PROFILE") or file.current
    if not file.profiles:
        file.current = named
    profile = file.profile(named)
    profile.update(_told(app))
    environ = {name: value for name, value in os.environ.items() if not name.startswith("ALIBABA_CLOUD_")}
    settings = resolve({"profile": named}, file, environ)
    works = bool(settings.access_key_id) and not new_key and _works(settings)
    client = Client(settings if works else replace(settings, access_key_id="", access_key_secret=""))
    if not works:
        profile.update(_fresh_key(client))
    profile["region"] = client.region
    file.save()
    click.echo(
        f"profile {named!r} in {ConfigFile.path()}: the access key {profile['access_key_id']} "
        + ("works" if works else "is new"),
        err=True,
    )


def _told(app: App) -> dict[str, str]:
    """What flags and environment say of the agent: the profile keeps it."""
    told = {"endpoint": "ECSCTL_ENDPOINT", "region": "ECSCTL_REGION", "ca": "ECSCTL_CA"}
    found = {key: app.flags.get(key) or os.environ.get(variable) for key, variable in told.items()}
    return {key: value for key, value in found.items() if value}


def _works(settings: Settings) -> bool:
    """Whether the agent accepts the key; Unreachable when it cannot be asked."""
    try:
        Client(settings).call("GetCallerIdentity", STS)
    except ApiError as error:
        if error.code.startswith(("InvalidAccessKeyId", "SignatureDoesNotMatch", "Forbidden")):
            return False
        raise
    return True


def _fresh_key(client: Client) -> dict[str, str]:
    try:
        key = client.call("CreateAccessKey", RAM)["AccessKey"]
    except CredentialsMissing:
        raise CliError(
            f"{client.transport.endpoint} does not know who asks: run `ecsctl config init` on the host itself (as root "
            "or a member of the socket's group), or with --endpoint ssh://USER@HOST",
            exit_code=CredentialsMissing.exit_code,
        ) from None
    return {"access_key_id": key["AccessKeyId"], "access_key_secret": key["AccessKeySecret"]}


@command("env")
def env(app: App) -> None:
    """Print export lines that make SDKs and scripts work: eval "$(ecsctl config env)"."""
    settings = app.settings
    if not settings.access_key_id or not settings.access_key_secret:
        raise CredentialsMissing(f"profile {settings.profile!r} has no access key: run `ecsctl config init`")
    lines = {
        "ECSCTL_ENDPOINT": _http_endpoint(app.client),
        "ALIBABA_CLOUD_ACCESS_KEY_ID": settings.access_key_id,
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET": settings.access_key_secret,
        "ECSCTL_REGION": app.client.region,
        "ECSCTL_CA": os.path.abspath(os.path.expanduser(settings.ca)) if settings.ca else "",
    }
    for name, value in lines.items():
        click.echo(f"export {name}={shlex.quote(value)}")


def _http_endpoint(client: Client) -> str:
    """SDKs know http and https only: for a socket, what the agent says of its region's endpoint."""
    endpoint = client.settings.endpoint
    if endpoint.startswith(("http://", "https://")):
        return endpoint
    if endpoint.startswith("ssh:"):
        raise CliError(
            f"SDKs cannot use {endpoint}: forward a port (`ssh -L 8800:127.0.0.1:8800`) and give "
            f"--endpoint {DEFAULT_HTTP}"
        )
    region = client.call("DescribeRegions")["Regions"]["Region"][0]
    told = str(region.get("RegionEndpoint") or "")
    parts = urlsplit(told if "//" in told else f"//{told}")
    if not parts.hostname:
        return DEFAULT_HTTP
    return f"{parts.scheme or 'http'}://{parts.netloc}"
