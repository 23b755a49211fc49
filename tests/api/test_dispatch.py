"""One transaction a call: ClientToken, DryRun, hooks, permission, and the audit line of each."""

from __future__ import annotations

import json
import stat
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import OperationalError

from agent.api.edge.call import Call
from agent.api.edge.errors import as_api_error
from agent.api.edge.params import Params
from agent.api.edge.registry import ECS, HOST, Registry
from agent.core.errors import ApiError, Forbidden, IdempotentParameterMismatch
from agent.core.identity import Identity
from agent.store.schema import ClientToken, Setting
from tests.api.live import ACCOUNT, KEY, Edge
from tests.api.sample import sample_registry
from tests.api.wire import call, send, signed_target
from tests.support.edge import OWNER, call_action

USER = Identity(account_id=ACCOUNT, principal_type="user", principal_name="dev")


def instances(edge: Edge) -> int:
    with edge.store.read() as session:
        return session.scalar(select(func.count()).select_from(Setting).where(Setting.name.like("i-%"))) or 0


# ------------------------------------------------------------------------------ ClientToken and DryRun


def test_the_same_token_gives_the_same_answer(edge: Edge) -> None:
    first = call(edge, "RunInstances", ImageId="x", ClientToken="t", Password="Secret12")
    second = call(edge, "RunInstances", ImageId="x", ClientToken="t", Password="Secret12")
    assert first.json["InstanceIdSets"] == second.json["InstanceIdSets"]
    assert first.json["RequestId"] != second.json["RequestId"]
    assert instances(edge) == 1
    assert len(edge.sample.hooks) == 1


@pytest.mark.parametrize("change", [{"ImageId": "y"}, {"Amount": "2"}, {"Password": "Other123"}])
def test_the_same_token_with_other_parameters(edge: Edge, change: dict[str, str]) -> None:
    params = {"ImageId": "x", "ClientToken": "t", "Password": "Secret12"}
    assert call(edge, "RunInstances", **params).status == 200
    refused = call(edge, "RunInstances", **{**params, **change})
    assert (refused.status, refused.code) == (400, "IdempotentParameterMismatch")
    assert instances(edge) == 1


def test_many_requests_with_one_token_make_one_instance(edge: Edge) -> None:
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda _: call(edge, "RunInstances", ImageId="x", ClientToken="t"), range(24)))
    assert {answer.status for answer in answers} == {200}
    assert len({json.dumps(answer.json["InstanceIdSets"]) for answer in answers}) == 1
    assert instances(edge) == 1


def test_a_failed_call_leaves_its_token_free(edge: Edge) -> None:
    assert call(edge, "RunInstances", ImageId="x", Amount="0", ClientToken="t").status == 400
    assert call(edge, "RunInstances", ImageId="x", ClientToken="t").status == 200


@pytest.mark.parametrize("token", ["t" * 65, "ü", "\n"])
def test_a_token_has_at_most_64_ascii_characters(edge: Edge, token: str) -> None:
    refused = call(edge, "RunInstances", ImageId="x", ClientToken=token)
    assert (refused.status, refused.code) == (400, "InvalidParameter")
    assert instances(edge) == 0


def test_tokens_are_kept_for_a_day(edge: Edge) -> None:
    call(edge, "RunInstances", ImageId="x", ClientToken="old")
    edge.clock.offset = 25 * 3600
    answer = call_action(
        sample_registry(),
        edge.sample,
        "RunInstances",
        {"ImageId": "x", "ClientToken": "new"},
        store=edge.store,
        clock=edge.clock,
    )
    assert len(answer["InstanceIdSets"]["InstanceIdSet"]) == 1
    with edge.store.read() as session:
        assert [row.token for row in session.scalars(select(ClientToken))] == ["new"]


def test_a_password_cannot_be_guessed_from_what_is_stored(edge: Edge) -> None:
    for token in ("a", "b"):
        call(edge, "RunInstances", ImageId="x", ClientToken=token, Password="Secret12")
    with edge.store.read() as session:
        rows = list(session.scalars(select(ClientToken)))
    assert rows[0].parameters_digest != rows[1].parameters_digest
    assert "Secret12" not in str([row.response for row in rows])


def test_dry_run_changes_nothing(edge: Edge) -> None:
    refused = call(edge, "RunInstances", ImageId="x", DryRun="true", ClientToken="t")
    assert (refused.status, refused.code) == (400, "DryRunOperation")
    assert instances(edge) == 0
    assert edge.sample.hooks == []
    assert call(edge, "RunInstances", ImageId="x", DryRun="false", ClientToken="t").status == 200


def test_dry_run_of_an_action_that_has_none_does_not_run_it(edge: Edge) -> None:
    ids = call(edge, "RunInstances", ImageId="x").json["InstanceIdSets"]["InstanceIdSet"]
    refused = call(edge, "DeleteInstance", InstanceId=ids[0], DryRun="True")
    assert (refused.status, refused.code) == (400, "UnsupportedParameter")
    assert instances(edge) == 1
    assert call(edge, "RunInstances", ImageId="x", DryRun="maybe").code == "InvalidParameter"


# ------------------------------------------------------------------------------ transactions and hooks


def registry_with(handler: Any, **more: Any) -> Registry:
    registry = Registry()
    registry.action("Try", version=HOST, params=Params, resource="*", access="write", **more)(handler)
    return registry


def attempt(edge: Edge, registry: Registry, **more: Any) -> dict[str, Any]:
    return call_action(registry, edge.sample, "Try", store=edge.store, version=HOST, **more)


def test_a_failing_handler_is_rolled_back_and_its_hooks_do_not_run(edge: Edge) -> None:
    def handler(call: Call, p: Params) -> dict[str, Any]:
        call.session.add(Setting(name="i-half", value=""))
        call.session.flush()
        call.after_commit(lambda: edge.sample.hooks.append("ran"))
        raise Forbidden("no")

    with pytest.raises(Forbidden):
        attempt(edge, registry_with(handler))
    assert (instances(edge), edge.sample.hooks) == (0, [])


def test_hooks_run_in_order_after_the_commit_and_cannot_fail_the_call(edge: Edge) -> None:
    def handler(call: Call, p: Params) -> dict[str, Any]:
        call.session.add(Setting(name="i-whole", value=""))
        call.after_commit(lambda: edge.sample.hooks.append(f"sees {instances(edge)}"))
        call.after_commit(lambda: 1 // 0)
        call.after_commit(lambda: edge.sample.hooks.append("last"))
        return {"Done": True}

    assert attempt(edge, registry_with(handler)) == {"Done": True}
    assert edge.sample.hooks == ["sees 1", "last"]


def test_a_busy_or_full_database_is_said_so() -> None:
    for text, told in (("database is locked", "busy"), ("database or disk is full", "full")):
        error = as_api_error(OperationalError("INSERT", {}, Exception(text)), "R")
        assert (error.code, error.status) == ("ServiceUnavailable", 503)
        assert told in error.message
    assert as_api_error(OperationalError("INSERT", {}, Exception("no such table")), "R").status == 500


# ------------------------------------------------------------------------------ permission


def test_who_is_no_administrator_may_do_nothing(edge: Edge) -> None:
    with pytest.raises(Forbidden, match=r"user/dev may not ecs:DeleteInstance on .*:instance/i-1: no policy"):
        call_action(
            sample_registry(), edge.sample, "DeleteInstance", {"InstanceId": "i-1"}, store=edge.store, identity=USER
        )


class Recorder:
    """An Authorizer that notes what it is asked and refuses the second time."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, list[str]]] = []

    def check(self, call: Call, ram_action: str, resources: Any) -> None:
        self.asked.append((ram_action, list(resources)))
        if len(self.asked) > 1:
            raise Forbidden("no")


def test_permission_is_asked_for_each_resource_and_before_a_token_is_looked_up(edge: Edge) -> None:
    recorder = Recorder()
    params: dict[str, object] = {"ImageId": "x", "ClientToken": "t"}
    arguments: dict[str, Any] = {"store": edge.store, "authorizer": recorder}
    call_action(sample_registry(), edge.sample, "RunInstances", params, **arguments)
    with pytest.raises(Forbidden):
        call_action(sample_registry(), edge.sample, "RunInstances", params, **arguments)
    assert recorder.asked == [("ecs:RunInstances", [f"acs:ecs:local:{OWNER.account_id}:instance/*"])] * 2


def test_resources_from_parameters_and_functions(edge: Edge) -> None:
    recorder = Recorder()
    ids = {"InstanceIds": '["i-1","i-2"]'}
    call_action(sample_registry(), edge.sample, "DescribeInstances", ids, store=edge.store, authorizer=recorder)
    head = f"acs:ecs:local:{OWNER.account_id}:"
    assert recorder.asked[-1] == ("ecs:DescribeInstances", [f"{head}instance/i-1", f"{head}instance/i-2"])

    def resource(call: Call, p: Params) -> list[str]:
        return [f"disk/{call.session.get(Setting, 'none')}", "acs:ram:*:1:role/r"]

    registry = Registry()
    registry.action("Try", version=HOST, params=Params, resource=resource, access="read", ram="ecs:Other")(
        lambda call, p: {}
    )
    recorder = Recorder()
    attempt(edge, registry, authorizer=recorder)
    assert recorder.asked == [("ecs:Other", [f"{head}disk/None", "acs:ram:*:1:role/r"])]


# ------------------------------------------------------------------------------ the table


def test_an_action_is_declared_once() -> None:
    registry = registry_with(lambda call, p: {})
    with pytest.raises(ValueError, match="declared twice"):
        registry.action("Try", version=HOST, params=Params, resource="*", access="read")(lambda call, p: {})
    registry.action("Try", version=ECS, params=Params, resource="*", access="read")(lambda call, p: {})
    assert sorted(item.version for item in registry) == sorted([ECS, HOST])


def test_a_resource_names_parameters_that_exist() -> None:
    with pytest.raises(ValueError, match="instance_id"):
        Registry().action("Try", version=ECS, params=Params, resource="instance/{instance_id}", access="read")(
            lambda call, p: {}
        )


def test_a_foreign_region_is_refused(edge: Edge) -> None:
    refused = call(edge, "RunInstances", ImageId="x", RegionId="cn-hangzhou")
    assert (refused.status, refused.code) == (404, "InvalidRegionId.NotFound")
    assert call(edge, "DescribeRegions", RegionId="cn-hangzhou").status == 200


# ------------------------------------------------------------------------------ audit


def test_each_call_leaves_one_line_without_secrets(edge: Edge) -> None:
    answer = call(
        edge, "RunInstances", ImageId="x", Password="Secret12", UserData="IyEvYmluL3No", Description="d" * 3000
    )
    lines = [json.loads(line) for line in edge.audit_path.read_text().splitlines()]
    assert len(lines) == 1
    line = lines[0]
    assert line["request_id"] == answer.json["RequestId"]
    assert (line["account"], line["principal"], line["access_key_id"]) == (ACCOUNT, "account/", KEY)
    assert (line["source"], line["action"], line["version"]) == ("127.0.0.1", "RunInstances", ECS)
    assert (line["code"], line["status"]) == ("", 200)
    assert line["resources"] == [f"acs:ecs:local:{ACCOUNT}:instance/*"]
    assert (line["params"]["Password"], line["params"]["UserData"]) == ("***", "***")
    assert len(line["params"]["Description"]) < 1100
    assert not {"Signature", "AccessKeyId", "Timestamp"} & line["params"].keys()
    assert "Secret12" not in edge.audit_path.read_text()
    assert stat.S_IMODE(edge.audit_path.stat().st_mode) == 0o600


def test_refused_calls_are_audited_too(edge: Edge) -> None:
    send(edge, signed_target("RunInstances", secret="wrong", ImageId="x"))
    call(edge, "RunInstances", ImageId="x", Amount="0")
    send(edge, "/?a=%ff")
    lines = [json.loads(line) for line in edge.audit_path.read_text().splitlines()]
    assert [(line["code"], line["status"]) for line in lines] == [
        ("SignatureDoesNotMatch", 400),
        ("InvalidAmount.ValueNotSupported", 400),
        ("InvalidRequest", 400),
    ]
    assert (lines[0]["account"], lines[0]["access_key_id"]) == ("", KEY)


def test_a_full_disk_does_not_stop_the_api(edge: Edge, caplog: pytest.LogCaptureFixture) -> None:
    edge.audit_path.symlink_to("/dev/full")
    assert call(edge, "DescribeRegions").status == 200
    assert "cannot write the audit log" in caplog.text


def test_api_errors_keep_their_own_code() -> None:
    error = IdempotentParameterMismatch("m")
    assert as_api_error(error, "R") is error
    assert isinstance(as_api_error(KeyError("x"), "R"), ApiError)
