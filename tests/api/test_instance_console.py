"""What an instance shows, and who may hold its serial console (SPEC L7)."""

from __future__ import annotations

import base64

import pytest

from agent.api.edge.registry import HOST
from agent.core.errors import ApiError
from agent.core.identity import Identity
from agent.store.schema import Instance
from tests.support.cloud import Cloud
from tests.support.edge import call_action


@pytest.fixture
def running(cloud: Cloud) -> str:
    _, vswitch_id = cloud.default_vswitch()
    instance_id = cloud.add_instance(vswitch_id, [])
    with cloud.store.write() as session:
        session.get_one(Instance, instance_id).status = "Running"
    return instance_id


def refusal(cloud: Cloud, action: str, version: str = "2014-05-26", **params: object) -> ApiError:
    with pytest.raises(ApiError) as refused:
        cloud.call(action, dict(params), version=version)
    return refused.value


def stop(cloud: Cloud, instance_id: str) -> None:
    with cloud.store.write() as session:
        session.get_one(Instance, instance_id).status = "Stopped"


def open_console(cloud: Cloud, instance_id: str, identity: Identity | None = None, *, force: bool = False) -> str:
    from agent.api.edge.registry import REGISTRY

    who = identity or Identity(account_id=cloud.account_id, administrator=True, unix_uid=0)
    params = {"InstanceId": instance_id, "Force": force}
    return call_action(REGISTRY, cloud.services, "OpenConsole", params, store=cloud.store, version=HOST, identity=who)[
        "Path"
    ]


def test_output_is_base64_and_can_be_had_without_symbols(cloud: Cloud, running: str) -> None:
    answer = cloud.call("GetInstanceConsoleOutput", {"InstanceId": running})
    assert base64.b64decode(answer["ConsoleOutput"]) == b"\x1b[1;31mhello\x1b[0m\r\n"
    assert answer["LastUpdateTime"].endswith("Z")
    plain = cloud.call("GetInstanceConsoleOutput", {"InstanceId": running, "RemoveSymbols": True})
    assert base64.b64decode(plain["ConsoleOutput"]) == b"hello\n"


def test_screenshot(cloud: Cloud, running: str) -> None:
    answer = cloud.call("GetInstanceScreenshot", {"InstanceId": running, "WakeUp": True})
    assert base64.b64decode(answer["Screenshot"]) == f"picture of ecs-{running}, awake".encode()
    stop(cloud, running)
    assert refusal(cloud, "GetInstanceScreenshot", InstanceId=running).code == "IncorrectInstanceStatus"
    assert refusal(cloud, "GetInstanceScreenshot", InstanceId="i-none").code == "InvalidInstanceId.NotFound"


def test_only_a_running_instance_has_a_console(cloud: Cloud, running: str) -> None:
    stop(cloud, running)
    assert refusal(cloud, "OpenConsole", HOST, InstanceId=running).code == "IncorrectInstanceStatus"
    other = cloud.add_account()
    with pytest.raises(ApiError) as refused:
        cloud.call("OpenConsole", {"InstanceId": running}, version=HOST, account_id=other)
    assert refused.value.code == "InvalidInstanceId.NotFound"


def test_one_user_at_a_time_unless_by_force(cloud: Cloud, running: str) -> None:
    assert open_console(cloud, running) == "/tunnel/token-1"
    dial, label, farewell = cloud.tunnels.issued[0]
    assert label == f"the serial console of {running}"
    assert farewell
    assert open_console(cloud, running) == "/tunnel/token-2"  # asking alone holds nothing
    dial()
    found = refusal(cloud, "OpenConsole", HOST, InstanceId=running)
    assert found.code == "InvalidOperation.ConsoleInUse"
    assert "in use by root on this host since 2026-11-23T07:35:12Z" in found.message
    with pytest.raises(ApiError, match="in use by root"):  # who asked before, but came later
        cloud.tunnels.issued[1][0]()

    lena = Identity(
        account_id=cloud.account_id,
        administrator=True,
        principal_type="user",
        principal_name="lena",
        source_ip="10.0.0.7",
    )
    open_console(cloud, running, lena, force=True)
    cloud.tunnels.issued[-1][0]()
    assert farewell() == "user lena from 10.0.0.7 took the console over"
    assert "in use by user lena" in refusal(cloud, "OpenConsole", HOST, InstanceId=running).message


def test_the_end_of_a_session_frees_the_console_and_has_a_reason(cloud: Cloud, running: str) -> None:
    open_console(cloud, running)
    dial, _, farewell = cloud.tunnels.issued[0]
    dial()
    cloud.hypervisor.consoles[0].hang_up("the instance has stopped")
    assert farewell
    assert farewell() == "the instance has stopped"
    open_console(cloud, running)
    cloud.tunnels.issued[1][0]()


def test_a_line_that_cannot_be_had_is_held_by_nobody(
    cloud: Cloud, running: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(name: str, **_: object) -> None:
        raise OSError("no line")

    open_console(cloud, running)
    with monkeypatch.context() as patch:
        patch.setattr(cloud.hypervisor, "open_console", fail)
        with pytest.raises(OSError, match="no line"):
            cloud.tunnels.issued[0][0]()
    cloud.services.consoles.check_free(running, f"ecs-{running}")
