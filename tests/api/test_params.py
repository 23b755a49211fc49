"""From the flat names of the wire to typed parameters, and pages."""

from __future__ import annotations

import datetime as dt
import json
from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AfterValidator, Field
from sqlalchemy import select

from agent.api.edge import paging
from agent.api.edge.masking import masked_params
from agent.api.edge.params import CommaList, ErrorCode, JsonList, Params, RegionParams, Tag, WireTime, one_of, parse
from agent.core import validate
from agent.core.errors import ApiError, InvalidParameter, MissingParameter
from agent.store.schema import Setting
from tests.api.live import Edge


def checked_name(value: str) -> str:
    return validate.name("InstanceName", value, code="InvalidInstanceName.Malformed")


class Disk(Params):
    size: Annotated[int, Field(ge=5, le=32768), ErrorCode("InvalidDiskSize.ValueNotSupported")]
    category: Literal["cloud", "cloud_ssd"] = "cloud"


class Everything(RegionParams):
    image_id: str
    v_switch_id: str = ""
    amount: Annotated[int, Field(ge=1, le=100), ErrorCode("InvalidAmount")] | None = None
    instance_name: Annotated[str, AfterValidator(checked_name)] | None = None
    instance_ids: JsonList = []
    zones: CommaList = []
    data_disk: list[Disk] = []
    system_disk: Disk | None = None
    tag: list[Tag] = []
    security_group_ids: list[str] = []
    ports: list[int] = []
    force: bool = False
    start_time: WireTime | None = None
    user_password: Annotated[str, Field(max_length=3)] = ""
    colour: Annotated[str, one_of("red", "green")] = "red"


def read(**wire: str) -> Everything:
    return parse(Everything, {"ImageId": "m", **{name.replace("__", "."): value for name, value in wire.items()}})


def test_structures_and_lists() -> None:
    p = read(
        VSwitchId="vsw",
        DataDisk__7__Size="50",
        DataDisk__2__Size="40",
        DataDisk__2__Category="cloud_ssd",
        SystemDisk__Size="20",
        Tag__1__Key="k",
        Tag__2__Key="l",
        Tag__2__Value="",
        SecurityGroupIds__1="sg-1",
        SecurityGroupIds__10="sg-3",
        SecurityGroupIds__9="sg-2",
        Ports__1="80",
    )
    assert p.v_switch_id == "vsw"
    assert [(d.size, d.category) for d in p.data_disk] == [(40, "cloud_ssd"), (50, "cloud")]
    assert p.system_disk is not None
    assert p.system_disk.size == 20
    assert [(t.key, t.value) for t in p.tag] == [("k", None), ("l", "")]
    assert p.security_group_ids == ["sg-1", "sg-2", "sg-3"]
    assert p.ports == [80]


def test_scalars() -> None:
    p = read(Amount="5", Force="True", InstanceIds='["i-1"]', Zones="a, b,", StartTime="2026-11-23T07:35Z")
    assert (p.amount, p.force, p.instance_ids, p.zones) == (5, True, ["i-1"], ["a", "b"])
    assert p.start_time == dt.datetime(2026, 11, 23, 7, 35, tzinfo=dt.UTC)


def test_lower_camel_names_match() -> None:
    p = parse(Everything, {"imageId": "m", "vswitchid": "v", "DATADISK.1.SIZE": "5"})
    assert (p.v_switch_id, p.data_disk[0].size) == ("v", 5)


def test_empty_values_take_the_default() -> None:
    p = read(Amount="", Force="", InstanceIds="", StartTime="", VSwitchId="", DataDisk="", SystemDisk="")
    assert p == read()


def test_a_list_as_one_json_text() -> None:
    assert read(Tag='[{"Key":"k","Value":"v"}]').tag == [Tag(key="k", value="v")]
    assert read(SystemDisk='{"size": 20}').system_disk == Disk(size=20)


@pytest.mark.parametrize(
    ("wire", "code", "said"),
    [
        ({"Amount": "0"}, "InvalidAmount", 'Amount "0"'),
        ({"Amount": "many"}, "InvalidAmount", 'Amount "many"'),
        ({"Amount": "1.0"}, "InvalidAmount", 'Amount "1.0"'),
        ({"Amount": "1_0"}, "InvalidAmount", 'Amount "1_0"'),
        ({"Force": "yes"}, "InvalidParameter", 'Force "yes"'),
        ({"InstanceIds": "i-1"}, "InvalidParameter", 'InstanceIds "i-1"'),
        ({"InstanceIds": '{"a":1}'}, "InvalidParameter", "JSON array"),
        ({"InstanceIds": '["i-1",2]'}, "InvalidParameter", "InstanceIds"),
        ({"StartTime": "2026-11-23"}, "InvalidParameter", 'StartTime "2026-11-23"'),
        ({"InstanceName": "1x"}, "InvalidInstanceName.Malformed", 'InstanceName "1x"'),
        ({"DataDisk.1.Size": "5", "DataDisk.4.Size": "4"}, "InvalidDiskSize.ValueNotSupported", 'DataDisk.4.Size "4"'),
        ({"DataDisk.4.Category": "tape", "DataDisk.4.Size": "5"}, "InvalidParameter", 'DataDisk.4.Category "tape"'),
        ({"SystemDisk.Size": "4"}, "InvalidDiskSize.ValueNotSupported", 'SystemDisk.Size "4"'),
        ({"DataDisk.0.Size": "5"}, "InvalidParameter", "DataDisk.0"),
        ({"DataDisk.a.Size": "5"}, "InvalidParameter", "DataDisk.a"),
        ({"SecurityGroupIds": "sg-1"}, "InvalidParameter", 'SecurityGroupIds "sg-1"'),
        ({"Tag": '{"a":' * 20 + "1" + "}" * 20}, "InvalidParameter", "Tag"),
        ({"ImageId": "m\0"}, "InvalidParameter", "ImageId"),
        ({"Colour": "blue"}, "InvalidParameter", "red, green"),
    ],
)
def test_wrong_values_are_named(wire: dict[str, str], code: str, said: str) -> None:
    with pytest.raises(ApiError) as caught:
        parse(Everything, {"ImageId": "m", **wire})
    assert caught.value.code == code
    assert caught.value.status == 400
    assert said in caught.value.message


@pytest.mark.parametrize(
    ("wire", "name"),
    [
        ({}, "ImageId"),
        ({"ImageId": ""}, "ImageId"),
        ({"ImageId": "m", "Tag.3.Value": "v"}, "Tag.3.Key"),
        ({"ImageId": "m", "SystemDisk.Category": "cloud"}, "SystemDisk.Size"),
        ({"Amount": "0"}, "ImageId"),
    ],
)
def test_what_is_missing_is_named(wire: dict[str, str], name: str) -> None:
    with pytest.raises(MissingParameter, match=f'"{name}"') as caught:
        parse(Everything, wire)
    assert caught.value.code == "MissingParameter"


def test_errors_do_not_repeat_secrets() -> None:
    with pytest.raises(InvalidParameter) as caught:
        read(UserPassword="Secret12")
    assert "Secret12" not in caught.value.message


def test_a_list_has_a_limit() -> None:
    wire = {f"SecurityGroupIds.{n}": "x" for n in range(1, 1002)}
    with pytest.raises(InvalidParameter, match="at most 1000"):
        parse(Everything, {"ImageId": "m", **wire})


def status_of(wire: dict[str, str]) -> int:
    """200 when `wire` parses, else the error's; any other exception passes."""
    try:
        parse(Everything, {"ImageId": "m", **wire})
    except ApiError as error:
        return error.status
    return 200


@given(st.dictionaries(st.text(max_size=30), st.text(max_size=30), max_size=8))
def test_any_names_and_values_parse_or_are_refused(wire: dict[str, str]) -> None:
    assert status_of(wire) in (200, 400)


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


@given(st.sampled_from(["DataDisk", "Tag", "SystemDisk", "InstanceIds", "Ports"]), ANY_JSON)
def test_any_json_parses_or_is_refused(name: str, value: object) -> None:
    assert status_of({name: json.dumps(value)}) in (200, 400)


def test_masking() -> None:
    names = ("Password", "VncPassword", "UserData", "PrivateKeyBody", "SecurityToken", "ClientSecret", "Name")
    shown = masked_params(dict.fromkeys(names, "v"))
    assert [name for name in names if shown[name] == "v"] == ["Name"]


# ------------------------------------------------------------------------------ pages


def fill(edge: Edge, count: int) -> None:
    with edge.store.write() as session:
        session.add_all(Setting(name=f"page-{n:03}", value="") for n in range(count))


STATEMENT = select(Setting).where(Setting.name.like("page-%")).order_by(Setting.name)


def test_numbered_pages(edge: Edge) -> None:
    fill(edge, 25)
    with edge.store.read() as session:
        third = paging.page(session, STATEMENT, paging.Paged(page_number=3))
        beyond = paging.page(session, STATEMENT, paging.Paged(page_number=9))
    assert [row.name for row in third.items] == [f"page-{n:03}" for n in range(20, 25)]
    assert third.fields() == {"TotalCount": 25, "PageNumber": 3, "PageSize": 10, "NextToken": None}
    assert (list(beyond.items), beyond.total) == ([], 25)


def test_pages_by_token_are_complete(edge: Edge) -> None:
    fill(edge, 25)
    names: list[str] = []
    token = ""
    with edge.store.read() as session:
        for expected in (10, 10, 5):
            got = paging.page(session, STATEMENT, paging.Paged(max_results=10, next_token=token))
            assert len(got.items) == expected
            names += [row.name for row in got.items]
            token = got.token or ""
    assert token == ""
    assert names == [f"page-{n:03}" for n in range(25)]


def test_pages_of_a_sequence() -> None:
    got = paging.page_list(list("abcdef"), paging.NumberedPagesOf50(page_number=2, page_size=4))
    assert (list(got.items), got.total) == (["e", "f"], 6)


@pytest.mark.parametrize("token", ["x", "ü", "b2Zmc2V0Oi0x", "b2Zmc2V0Og==", "AAAA"])
def test_a_foreign_token_is_refused(token: str) -> None:
    with pytest.raises(InvalidParameter, match="NextToken"):
        paging.page_list([1], paging.Paged(next_token=token))


@pytest.mark.parametrize("wire", [{"PageNumber": "0"}, {"PageSize": "51"}, {"PageSize": "x"}])
def test_page_limits(wire: dict[str, str]) -> None:
    with pytest.raises(InvalidParameter, match="Page"):
        parse(paging.NumberedPagesOf50, wire)
