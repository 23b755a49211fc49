"""The boothook that puts keys and password into a Linux guest: pure, POSIX shell, for dash and busybox alike.

cloud-init runs boothooks at every boot, before sshd. Ours works once per operation: a marker file names the last
one done. That way a changed seed takes effect at the next console restart without a new instance-id, which would
run the user's scripts again, make new host keys, and still not remove an old key.

A disk that was another instance's (of an image made from it, SPEC M2, M3) keeps a directory of that instance below
/var/lib/cloud/instances, as cloud-init makes them: as long as there is one, what told that instance from others is made
anew, so that whoever owned the image learns nothing of it and nobody is taken for somebody else. An id or a host key
that is older than the boot in which the first boothook runs is nobody's own either.
"""

from __future__ import annotations

import hashlib
import json
import shlex

from agent.core.errors import DriverError
from agent.core.specs import SeedSpec
from agent.drivers.guest.password import OUR_SALT, is_hash

BEGIN = "# BEGIN ecs"
END = "# END ecs"

_SCRIPT = """\
#cloud-boothook
#!/bin/sh
# Login keys and password, set by the Elastic Compute Service. Runs once for each change.
set -eu
umask 077
done_dir=/var/lib/cloud/ecs
operation={operation}
if [ -e "$done_dir/$operation" ]; then exit 0; fi

# A system that was another instance's gets an id and host keys of its own, and loses the keys of the other's key pair,
# whoever got them. What the other was told goes last of all: it says that this is still to be done. An id and keys of a
# system that no boothook has seen are not its own either: it was brought here, or cut short in its first boot.
before_this_boot() {{
    made=$(stat -c %Y "$1") && up=$(cut -d . -f 1 /proc/uptime) || return 1
    [ $(($(date +%s) - made)) -gt $((up + 1)) ]
}}
not_its_own() {{
    [ -s "$1" ] || return 1
    [ "$others" = yes ] || {{ [ ! -d "$done_dir" ] && before_this_boot "$1"; }}
}}
new_machine_id() {{
    not_its_own /etc/machine-id && [ -r /proc/sys/kernel/random/uuid ] || return 0 # BSD makes it of the firmware's
    tr -d - </proc/sys/kernel/random/uuid >/etc/machine-id
    if [ -f /var/lib/dbus/machine-id ] && [ ! -L /var/lib/dbus/machine-id ]; then
        cat /etc/machine-id >/var/lib/dbus/machine-id
    fi
    if [ -d /run/systemd/system ]; then # whose journal is kept by that id
        systemctl --no-block try-restart systemd-journald || :
    fi
}}
new_host_keys() {{
    for key in /etc/ssh/ssh_host_*_key; do
        not_its_own "$key" || continue
        type=${{key#/etc/ssh/ssh_host_}}
        rm -f "$key.ecs" "$key.ecs.pub"
        if ssh-keygen -q -t "${{type%_key}}" -N '' -f "$key.ecs" </dev/null; then
            mv -f "$key.ecs.pub" "$key.pub"
            mv -f "$key.ecs" "$key"
        else
            rm -f "$key" "$key.pub"
        fi
    done
}}
forget_keys() {{
    grep -qx '{end}' "$keys" || return 0
    sed -n '/^{begin}$/,/^{end}$/p' "$keys" | cut -d ' ' -f 2 | grep '^AAAA' >"$keys.theirs" || :
    cut -d : -f 6 /etc/passwd | sort -u | while read -r home; do
        [ -f "$home/.ssh/authorized_keys" ] || continue
        grep -vFf "$keys.theirs" "$home/.ssh/authorized_keys" >"$keys.left" || :
        cat "$keys.left" >"$home/.ssh/authorized_keys"
    done
    rm -f "$keys.theirs" "$keys.left"
}}
own=/var/lib/cloud/instances/{instance}
mkdir -p "$own"
others=no
for other in /var/lib/cloud/instances/*; do
    if [ "$other" != "$own" ]; then others=yes; fi
done
keys=/root/.ssh/authorized_keys
mkdir -p /root/.ssh
new_machine_id
new_host_keys
if [ "$others" = yes ] && [ -f "$keys" ]; then forget_keys; fi

# Lines of the file $1 outside our block. A block whose end is gone is none: its lines are somebody's.
other_lines() {{
    inside=no
    held=
    while IFS= read -r line || [ -n "$line" ]; do
        case $inside:$line in
        "no:{begin}") inside=yes ;;
        "yes:{end}") inside=no; held= ;;
        no:*) printf '%s\\n' "$line" ;;
        yes:*) held=$held$line'
' ;;
        esac
    done <"$1"
    printf %s "$held"
}}

{{
    if [ -f "$keys" ]; then other_lines "$keys"; fi
{key_lines}
}} >"$keys.ecs"
mv -f "$keys.ecs" "$keys"
{password_lines}
rm -f /etc/shadow- # the password before, which may have been another instance's

if [ "$others" = yes ]; then
    rm -f /var/backups/shadow.bak
    for other in /var/lib/cloud/instances/*; do
        if [ "$other" != "$own" ]; then rm -rf "$other"; fi
    done
fi
if [ -d /etc/ssh ]; then
    mkdir -p /etc/ssh/sshd_config.d
    chmod 755 /etc/ssh/sshd_config.d
    printf '%s\\n' {sshd_lines} >/etc/ssh/sshd_config.d/50-ecs.conf
fi

mkdir -p "$done_dir"
rm -f "$done_dir"/*
: >"$done_dir/$operation"
"""

# `*` and not `!`: a password that fits nothing, but no locked account, which some sshd refuse keys for, too.
_TAKE_OURS_BACK = f"""\
case $(sed -n 's/^root:\\([^:]*\\):.*/\\1/p' /etc/shadow) in
'$6${OUR_SALT}'*) printf '%s\\n' 'root:*' | chpasswd -e ;;
esac"""


def operation_id(spec: SeedSpec) -> str:
    """Changes with what the boothook has to set; the same on every host and in every run."""
    subject = json.dumps([spec.instance_id, list(spec.public_keys), spec.password_hash])
    return hashlib.sha256(subject.encode()).hexdigest()[:20]


def check_login(spec: SeedSpec) -> None:
    """Raises DriverError for a key or hash that could be more than one line."""
    for key in spec.public_keys:
        if not key.isprintable():
            raise DriverError(f"instance {spec.instance_id}: a public key must be one line: {key!r}")
    if spec.password_hash is not None and not is_hash(spec.password_hash):
        raise DriverError(f"instance {spec.instance_id}: the password hash is not a SHA-512 crypt hash")


def boothook(spec: SeedSpec) -> str:
    """The script. Raises DriverError for a key or hash that could be more than one line."""
    check_login(spec)
    return _SCRIPT.format(
        operation=operation_id(spec),
        begin=BEGIN,
        end=END,
        key_lines=_key_lines(spec.public_keys),
        password_lines=_password_lines(spec),
        instance=shlex.quote(spec.instance_id),
        sshd_lines=_sshd_lines(spec.password_hash is not None),
    )


def _key_lines(keys: tuple[str, ...]) -> str:
    """No block at all without keys."""
    block = [BEGIN, *keys, END] if keys else []
    return "\n".join(f"    printf '%s\\n' {shlex.quote(line)}" for line in block) or "    :"


def _password_lines(spec: SeedSpec) -> str:
    """Without a password, one that we have set goes: it would come back to life with password login, and works on
    the console meanwhile. One that was set from inside is the user's, and root without one is locked in the image."""
    if spec.password_hash is None:
        return _TAKE_OURS_BACK
    return f"printf '%s\\n' {shlex.quote('root:' + spec.password_hash)} | chpasswd -e"


def _sshd_lines(with_password: bool) -> str:
    lines = (
        ("PasswordAuthentication yes", "PermitRootLogin yes")
        if with_password
        else ("PasswordAuthentication no", "PermitRootLogin prohibit-password")
    )
    return " ".join(shlex.quote(line) for line in lines)
