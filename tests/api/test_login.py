"""Passwords, host names, user data and key pairs of existing instances: what is kept, what is refused with which code
(SPEC I6, I7, I11, K3)."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from agent.api.edge.registry import HOST
from agent.core.errors import ApiError
from agent.store.schema import Instance
from tests.support.agent import flat
from tests.support.cloud import Cloud

PASSWORD = "Passw0rd!x"
MODIFY, RESET = "ModifyInstanceAttribute", "ResetInstancePasswords"


@pytest.fixture
def ready(cloud: Cloud) -> Cloud:
    for name in ("one", "two"):
        cloud.call("CreateKeyPair", {"KeyPairName": name})
    return cloud


def add(cloud: Cloud, status: str = "Running", **values: Any) -> str:
    """An instance with these columns."""
    _, vswitch_id = cloud.default_vswitch()
    instance_id = cloud.add_instance(vswitch_id, [])
    change(cloud, instance_id, status=status, **values)
    return instance_id


def change(cloud: Cloud, instance_id: str, **values: Any) -> None:
    with cloud.store.write() as session:
        row = session.get_one(Instance, instance_id)
        for name, value in values.items():
            setattr(row, name, value)


def stored(cloud: Cloud, instance_id: str) -> Instance:
    with cloud.store.read() as session:
        return session.get_one(Instance, instance_id)


def call(cloud: Cloud, action: str, **params: object) -> dict[str, Any]:
    return cloud.call(action, dict(flat(params)), version=HOST if action == RESET else "2014-05-26")


def refusal(cloud: Cloud, action: str, **params: object) -> tuple[str, int]:
    with pytest.raises(ApiError) as refused:
        call(cloud, action, **params)
    assert PASSWORD not in refused.value.message
    return refused.value.code, refused.value.status


def encoded(user_data: bytes) -> str:
    return base64.b64encode(user_data).decode()


# ------------------------------------------------------------------------------ passwords


@pytest.mark.parametrize("status", ["Running", "Stopped"])
def test_a_password_is_kept_as_a_hash(ready: Cloud, status: str) -> None:
    instance_id = add(ready, status)
    assert call(ready, MODIFY, InstanceId=instance_id, Password=PASSWORD).keys() <= {"RequestId"}
    row = stored(ready, instance_id)
    assert (row.password_hash, row.password, row.status) == ("$6$stand-in", None, status)
    assert [job for job in ready.jobs("instance.password")] == []


def test_a_windows_password_is_sealed(ready: Cloud) -> None:
    instance_id = add(ready, os_type="windows")
    call(ready, MODIFY, InstanceId=instance_id, Password=PASSWORD)
    row = stored(ready, instance_id)
    assert row.password is not None
    assert row.password_hash is None
    assert PASSWORD.encode() not in row.password
    assert ready.services.sealer.open(row.password) == PASSWORD


def test_a_bound_key_pair_stays_bound_when_a_password_is_set(ready: Cloud) -> None:
    instance_id = add(ready, key_pair_name="one")
    call(ready, MODIFY, InstanceId=instance_id, Password=PASSWORD)
    assert (stored(ready, instance_id).key_pair_name, stored(ready, instance_id).password_hash) == (
        "one",
        "$6$stand-in",
    )


@pytest.mark.parametrize("password", ["short1A", "nodigitsorupper", "x" * 31, "Tab\tand123", "Ünïcode123"])
@pytest.mark.parametrize("action", [MODIFY, RESET])
def test_malformed_passwords(ready: Cloud, action: str, password: str) -> None:
    instance_id = add(ready)
    params = {"InstanceId": instance_id if action == MODIFY else [instance_id], "Password": password}
    assert refusal(ready, action, **params) == ("InvalidPassword.Malformed", 400)
    assert stored(ready, instance_id).password_hash is None


@pytest.mark.parametrize("status", ["Pending", "Starting", "Stopping"])
def test_states_in_which_no_login_can_be_changed(ready: Cloud, status: str) -> None:
    instance_id = add(ready, status)
    wrong = ("IncorrectInstanceStatus", 403)
    assert refusal(ready, MODIFY, InstanceId=instance_id, Password=PASSWORD) == wrong
    assert refusal(ready, MODIFY, InstanceId=instance_id, HostName="other", InstanceName="not-even-this") == wrong
    assert refusal(ready, RESET, InstanceId=[instance_id], Password=PASSWORD) == wrong
    assert refusal(ready, "AttachKeyPair", KeyPairName="one", InstanceIds=json.dumps([instance_id])) == wrong
    row = stored(ready, instance_id)
    assert (row.password_hash, row.host_name, row.name, row.key_pair_name) == (None, "test", "test", None)


def test_several_in_the_same_state_are_reset_or_none(ready: Cloud) -> None:
    ids = [add(ready), add(ready), add(ready, "Stopped")]
    assert refusal(ready, RESET, InstanceId=ids, Password=PASSWORD) == ("IncorrectInstanceStatus", 403)
    assert {stored(ready, one).password_hash for one in ids} == {None}
    assert call(ready, RESET, InstanceId=ids[:2], Password=PASSWORD)["JobIds"] == {"JobId": []}
    assert [stored(ready, one).password_hash for one in ids] == ["$6$stand-in", "$6$stand-in", None]
    unknown = ["i-" + "x" * 20, ids[2]]
    assert refusal(ready, RESET, InstanceId=unknown, Password=PASSWORD) == ("InvalidInstanceId.NotFound", 404)


def test_at_once_needs_a_guest_agent_in_every_one(ready: Cloud) -> None:
    ids = [add(ready), add(ready)]
    ready.hypervisor.agents = {f"ecs-{ids[0]}"}
    now = {"InstanceId": ids, "Password": PASSWORD, "Now": "true"}
    assert refusal(ready, RESET, **now) == ("InvalidOperation.GuestAgentNotRunning", 403)
    assert ready.jobs("instance.password") == []
    ready.hypervisor.agents |= {f"ecs-{ids[1]}"}
    answer = call(ready, RESET, **now)
    jobs = ready.jobs("instance.password")
    assert answer["JobIds"]["JobId"] == [job.id for job in jobs]
    assert [(job.resource_id, job.data) for job in jobs] == [(one, {"password_hash": "$6$stand-in"}) for one in ids]
    assert PASSWORD not in json.dumps([job.data for job in jobs])
    # The guests first: until they have it, nothing else is wanted of them.
    assert {stored(ready, one).password_hash for one in ids} == {None}


def test_at_once_only_on_running_linux(ready: Cloud) -> None:
    stopped, windows = add(ready, "Stopped"), add(ready, os_type="windows")
    now = {"Password": PASSWORD, "Now": "true"}
    assert refusal(ready, RESET, InstanceId=[stopped], **now) == ("IncorrectInstanceStatus", 403)
    assert refusal(ready, RESET, InstanceId=[windows], **now) == ("InvalidOperation.WindowsInstance", 403)


# ------------------------------------------------------------------------------ other attributes


def test_name_description_and_protection_change_in_any_state(ready: Cloud) -> None:
    instance_id = add(ready, "Starting")
    params = {"InstanceName": "new-name", "Description": "what for", "DeletionProtection": "true"}
    call(ready, MODIFY, InstanceId=instance_id, **params)
    row = stored(ready, instance_id)
    assert (row.name, row.description, row.deletion_protection) == ("new-name", "what for", True)
    call(ready, MODIFY, InstanceId=instance_id, Description="")
    assert stored(ready, instance_id).description == ""


def test_a_host_name(ready: Cloud) -> None:
    instance_id = add(ready)
    call(ready, MODIFY, InstanceId=instance_id, HostName="other-1.lab")
    assert call(ready, "DescribeInstanceAttribute", InstanceId=instance_id)["HostName"] == "other-1.lab"
    assert refusal(ready, MODIFY, InstanceId=instance_id, HostName="-no-") == ("InvalidHostName.Malformed", 400)


def test_user_data_of_a_stopped_instance(ready: Cloud) -> None:
    instance_id = add(ready, "Stopped", user_data=b"#!/bin/sh\n")
    new = b"#cloud-config\n# \xff\n"
    call(ready, MODIFY, InstanceId=instance_id, UserData=encoded(new))
    shown = call(ready, "DescribeUserData", InstanceId=instance_id, RegionId="local")
    assert (shown["InstanceId"], shown["RegionId"], base64.b64decode(shown["UserData"])) == (instance_id, "local", new)
    call(ready, MODIFY, InstanceId=instance_id, UserData="")
    assert call(ready, "DescribeUserData", InstanceId=instance_id)["UserData"] == ""
    call(ready, MODIFY, InstanceId=instance_id, UserData=encoded(bytes(16 * 1024)))


def test_user_data_that_is_refused(ready: Cloud) -> None:
    running, stopped = add(ready, user_data=b"same"), add(ready, "Stopped")
    assert refusal(ready, MODIFY, InstanceId=running, UserData=encoded(b"x")) == ("IncorrectInstanceStatus", 403)
    call(ready, MODIFY, InstanceId=running, UserData=encoded(b"same"))
    too_much = encoded(bytes(16 * 1024 + 1))
    assert refusal(ready, MODIFY, InstanceId=stopped, UserData=too_much)[0] == "InvalidUserData.SizeExceeded"
    assert refusal(ready, MODIFY, InstanceId=stopped, UserData="%%")[0] == "InvalidUserData.Base64FormatInvalid"


def test_a_part_of_the_public_action_for_later(ready: Cloud) -> None:
    params = {"RemoteConnectionOptions": {"Password": "abc123", "Type": "vnc"}}
    assert refusal(ready, MODIFY, InstanceId=add(ready), **params)[0] == "UnsupportedParameter"


def test_another_accounts_instance_is_not_there(ready: Cloud) -> None:
    instance_id, other = add(ready), ready.add_account()
    for action, params in (
        (MODIFY, {"InstanceId": instance_id, "Password": PASSWORD}),
        ("DescribeUserData", {"InstanceId": instance_id}),
    ):
        with pytest.raises(ApiError) as refused:
            ready.call(action, params, account_id=other)
        assert (refused.value.code, refused.value.status) == ("InvalidInstanceId.NotFound", 404)


# ------------------------------------------------------------------------------ key pairs


def bind(cloud: Cloud, name: str, *ids: str, action: str = "AttachKeyPair") -> dict[str, Any]:
    return call(cloud, action, RegionId="local", KeyPairName=name, InstanceIds=json.dumps(ids))


def bind_refusal(cloud: Cloud, name: str, *ids: str, action: str = "AttachKeyPair") -> tuple[str, int]:
    return refusal(cloud, action, KeyPairName=name, InstanceIds=json.dumps(ids))


def test_binding_to_several_ends_password_login_and_replaces(ready: Cloud) -> None:
    plain, bound = add(ready, password_hash="$6$x"), add(ready, "Stopped", key_pair_name="two")
    answer = bind(ready, "one", plain, bound, plain)
    assert (answer["KeyPairName"], answer["TotalCount"], answer["FailCount"]) == ("one", "2", "0")
    success = {"Code": "200", "Message": "successful", "Success": "true"}
    assert answer["Results"]["Result"] == [{"InstanceId": one, **success} for one in (plain, bound)]
    for one in (plain, bound):
        row = stored(ready, one)
        assert (row.key_pair_name, row.password_hash, row.seeded_keys) == ("one", None, [])


def test_the_result_tells_each_instance(ready: Cloud) -> None:
    good, busy = add(ready), add(ready, "Stopping")
    answer = bind(ready, "one", busy, good)
    assert (answer["TotalCount"], answer["FailCount"]) == ("2", "1")
    first, second = answer["Results"]["Result"]
    assert (first["InstanceId"], first["Code"], first["Success"]) == (busy, "IncorrectInstanceStatus", "false")
    assert "Stopping" in first["Message"]
    assert (second["InstanceId"], second["Success"]) == (good, "true")
    assert (stored(ready, good).key_pair_name, stored(ready, busy).key_pair_name) == ("one", None)


def test_bindings_that_are_refused_whole(ready: Cloud) -> None:
    good, windows = add(ready), add(ready, os_type="windows")
    assert bind_refusal(ready, "one", good, windows) == ("DependencyViolation.WindowsInstance", 403)
    assert bind_refusal(ready, "none", good) == ("InvalidKeyPairName.NotFound", 404)
    assert bind_refusal(ready, "one", good, "i-" + "x" * 20) == ("InvalidInstanceId.NotFound", 404)
    assert bind_refusal(ready, "one", *(f"i-{n:020}" for n in range(51))) == ("InstanceKeyPairLimitExceeded", 403)
    assert bind_refusal(ready, "one") == ("MissingParameter", 400)
    wrong = {"KeyPairName": "one", "InstanceIds": good}
    assert refusal(ready, "AttachKeyPair", **wrong) == ("InvalidInstanceIds.ValueNotSupported", 400)
    assert stored(ready, good).key_pair_name is None


def test_fifty_at_once(ready: Cloud) -> None:
    ids = [add(ready) for _ in range(50)]
    assert bind(ready, "one", *ids)["TotalCount"] == "50"


def test_a_retired_key_pair_can_be_unbound_but_not_bound(ready: Cloud) -> None:
    bound, other = add(ready, key_pair_name="one"), add(ready)
    ready.call("DeleteKeyPairs", {"KeyPairNames": '["one"]'})
    assert bind_refusal(ready, "one", other) == ("InvalidKeyPairName.NotFound", 404)
    assert bind(ready, "one", bound, action="DetachKeyPair")["FailCount"] == "0"
    assert stored(ready, bound).key_pair_name is None
    assert bind_refusal(ready, "one", bound) == ("InvalidKeyPairName.NotFound", 404)
    with pytest.raises(ApiError, match="already exists"):
        ready.call("CreateKeyPair", {"KeyPairName": "one"})


def test_unbinding(ready: Cloud) -> None:
    bound, other, free = add(ready, key_pair_name="one"), add(ready, key_pair_name="two"), add(ready)
    answer = bind(ready, "one", bound, other, free, action="DetachKeyPair")
    assert [result["Code"] for result in answer["Results"]["Result"]] == [
        "200",
        *["InvalidOperation.KeyPairNotBound"] * 2,
    ]
    assert [stored(ready, one).key_pair_name for one in (bound, other, free)] == [None, "two", None]
    assert stored(ready, bound).password_hash is None
    again = bind_refusal(ready, "one", bound, action="DetachKeyPair")
    assert again == ("InvalidOperation.KeyPairNotBound", 403)
    unknown = bind_refusal(ready, "none", bound, action="DetachKeyPair")
    assert unknown == ("InvalidKeyPairName.NotFound", 404)
    # Unbound first, the name is free again once it is deleted (SPEC K4).
    ready.call("DeleteKeyPairs", {"KeyPairNames": '["one"]'})
    ready.call("CreateKeyPair", {"KeyPairName": "one"})


def test_a_password_set_while_a_key_is_bound_outlives_the_unbinding(ready: Cloud) -> None:
    instance_id = add(ready, key_pair_name="one")
    call(ready, MODIFY, InstanceId=instance_id, Password=PASSWORD)
    bind(ready, "one", instance_id, action="DetachKeyPair")
    assert stored(ready, instance_id).password_hash == "$6$stand-in"
