"""Typed parameters of an action, and their reading from the flat names of the wire.

A model's field names are the public names in snake case (`v_switch_id` is `VSwitchId`; give
`Field(alias=…)` where that does not come out right). On the wire, names match in any case and structure is
spelt with dots: `DataDisk.1.Size`, `Tag.2.Key`, `SystemDisk.Category`, `SecurityGroupIds.1`.

    class DataDisk(Params):
        size: Annotated[int, Field(ge=5, le=32768)]
        category: Literal["cloud", "cloud_ssd"] = "cloud"

    class RunInstancesParams(RegionParams):
        image_id: str
        amount: Annotated[int, Field(ge=1, le=100), ErrorCode("InvalidAmount.ValueNotSupported")] = 1
        instance_name: Annotated[str, AfterValidator(checked_instance_name)] | None = None
        data_disk: list[DataDisk] = []
        tag: list[Tag] = []

Values that are left out or, for anything but a string, empty take the default. A known parameter with a wrong
value is refused by name; unknown ones are ignored, as the provider does. A validator may raise an ApiError
(agent.core.validate) and that error is answered as it is, or a ValueError, whose text becomes the reason.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, Union, get_args, get_origin

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationError
from pydantic.alias_generators import to_pascal
from pydantic.fields import FieldInfo

from agent.api.edge import wiretree
from agent.api.edge.masking import is_secret, masked
from agent.api.edge.wiretree import Node
from agent.core.errors import InvalidParameter, MissingParameter

MAX_LIST = 1000
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}\Z")
_TIME_FORMATS = ("%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%MZ")


class Params(BaseModel):
    """Base of every parameter model and of the structures inside."""

    model_config = ConfigDict(
        alias_generator=to_pascal,
        populate_by_name=True,
        frozen=True,
        extra="ignore",
        hide_input_in_errors=True,
        allow_inf_nan=False,
    )


class RegionParams(Params):
    """For actions that act in a region: a `RegionId` other than this agent's is refused before the handler."""

    region_id: str | None = None


class Tag(Params):
    """`Tag.N.Key` and `Tag.N.Value`; the value is None where only a key was given (a filter by key)."""

    key: str
    value: str | None = None


class Filter(Params):
    """`Filter.N.Key` and `Filter.N.Value`."""

    key: str
    value: str = ""


class ErrorCode:
    """In an `Annotated`: the public code to answer when this parameter's value is wrong."""

    def __init__(self, code: str) -> None:
        self.code = code


def _json_list(value: object) -> object:
    """`["i-1","i-2"]`, the API's way of giving many ids in one string."""
    if not isinstance(value, str):
        return value
    try:
        items = json.loads(value)
    except (ValueError, RecursionError):
        raise ValueError('a JSON array of strings is expected, such as ["a","b"].') from None
    if not isinstance(items, list) or len(items) > MAX_LIST:
        raise ValueError(f'a JSON array of at most {MAX_LIST} strings is expected, such as ["a","b"].')
    return [wiretree.check_text("", item) if isinstance(item, str) else item for item in items]


def _comma_list(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def wire_time(value: object) -> object:
    """As parse_wire_time. Anything but a text is left as it is."""
    return parse_wire_time(value) if isinstance(value, str) else value


def parse_wire_time(text: str) -> dt.datetime:
    """The UTC time that a text says; raises ValueError when it says none."""
    for form in _TIME_FORMATS:
        try:
            return dt.datetime.strptime(text, form).replace(tzinfo=dt.UTC)
        except ValueError:
            continue
    raise ValueError("a UTC time is expected, such as 2026-11-23T07:35Z or 2026-11-23T07:35:00Z.")


class _Text:
    """Marks a list that is one string on the wire."""


JsonList = Annotated[list[str], BeforeValidator(_json_list), _Text()]
CommaList = Annotated[list[str], BeforeValidator(_comma_list), _Text()]
WireTime = Annotated[dt.datetime, BeforeValidator(wire_time)]


def one_of(*allowed: str) -> AfterValidator:
    """A validator: the value is one of `allowed`, exactly; for sets that are only known at run time."""

    def check(value: str) -> str:
        if value not in allowed:
            raise ValueError(f"it must be one of {', '.join(allowed)}.")
        return value

    return AfterValidator(check)


P = TypeVar("P", bound=Params)


def parse(model: type[P], wire: Mapping[str, str]) -> P:
    """The parameters in `wire`; raises MissingParameter, InvalidParameter or a validator's own ApiError."""
    tree = wiretree.build(wire)
    values = _structure(model, tree, "")
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise _translate(model, tree, error) from None


def known_names(model: type[Params]) -> frozenset[str]:
    """The lower-cased first parts of the names that `model` reads."""
    return frozenset(alias.lower() for alias, _, _ in _shape(model))


# ------------------------------------------------------------------------------ wire tree -> pydantic's input


class _Kind(NamedTuple):
    """What a field's annotation wants: a scalar (of `inner`: int, bool, str or anything), a struct or a list."""

    name: Literal["scalar", "struct", "list"]
    inner: Any


@cache
def _shape(model: type[Params]) -> tuple[tuple[str, _Kind, FieldInfo], ...]:
    return tuple((f.alias or name, _kind(f.annotation, f.metadata), f) for name, f in model.model_fields.items())


def _kind(annotation: Any, metadata: list[Any]) -> _Kind:
    if any(isinstance(m, _Text) for m in metadata):
        return _Kind("scalar", None)
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        inner: list[Any] = []
        for item in args[1:]:
            inner += item.metadata if isinstance(item, FieldInfo) else [item]
        return _kind(args[0], inner)
    if origin is Union or type(annotation).__name__ == "UnionType":
        options = [a for a in args if a is not type(None)]
        return _kind(options[0], []) if len(options) == 1 else _Kind("scalar", None)
    if origin in (list, tuple):
        return _Kind("list", _kind(args[0], []))
    if isinstance(annotation, type) and issubclass(annotation, Params):
        return _Kind("struct", annotation)
    return _Kind("scalar", annotation)


def _structure(model: type[Params], node: Node, path: str) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for alias, kind, info in _shape(model):
        child = node.children.get(alias.lower())
        if child is None:
            continue
        value = _value(kind, child, f"{path}{alias}", _declared_code(info))
        if value is not None and not (value == "" and info.is_required()):
            values[alias] = value
    return values


def _value(kind: _Kind, node: Node, path: str, code: str | None) -> Any:
    """The plain value of `node`; None when nothing of that kind was given."""
    if kind.name == "scalar":
        return _scalar(kind.inner, node, path, code)
    node = wiretree.opened(node, path)
    if kind.name == "struct":
        return _structure(kind.inner, node, path + ".") if node.children else None
    numbered = wiretree.numbered(node, path, MAX_LIST)
    items = [_value(kind.inner, child, f"{path}.{index}", code) for index, child in numbered]
    return [item for item in items if item is not None] or None


def _scalar(inner: Any, node: Node, path: str, code: str | None) -> Any:
    text = node.text
    if text is None or (text == "" and inner is not str):
        return None
    if inner is bool:
        if text.lower() not in ("true", "false"):
            raise InvalidParameter(path, text, "it must be true or false.", code=code)
        return text.lower() == "true"
    if inner is int:
        if not _INTEGER.match(text):
            raise InvalidParameter(path, text, "it must be an integer.", code=code)
        return int(text)
    return text


# ------------------------------------------------------------------------------ pydantic's errors -> ours


def _translate(model: type[Params], tree: Node, error: ValidationError) -> MissingParameter | InvalidParameter:
    details = error.errors(include_url=False)
    # What is missing is said first: a wrong value may only follow from it.
    first = min(details, key=lambda detail: detail["type"] != "missing")
    name, node, code = _locate(model, tree, first["loc"])
    if first["type"] == "missing":
        return MissingParameter(name)
    reason = first["msg"].removeprefix("Value error, ")
    reason = reason.removeprefix("Input should be ").rstrip(".") if reason.startswith("Input should") else reason
    if first["msg"].startswith("Input should"):
        reason = f"it must be {reason}."
    value = masked(name, node.text or "") if node is not None else ""
    return InvalidParameter(name, "***" if is_secret(name) else value, reason, code=code)


def _locate(model: type[Params], tree: Node, loc: tuple[int | str, ...]) -> tuple[str, Node | None, str | None]:
    """The wire name of pydantic's `loc`, the node there, and the code declared for it."""
    parts: list[str] = []
    node: Node | None = tree
    current: type[Params] | None = model
    code: str | None = None
    for step in loc:
        if isinstance(step, int):
            pairs = wiretree.numbered(node, ".".join(parts), MAX_LIST) if node is not None else []
            index, node = pairs[step] if step < len(pairs) else (step + 1, None)
            parts.append(str(index))
            continue
        field = (
            next(((kind, info) for alias, kind, info in _shape(current) if alias == step), None) if current else None
        )
        if field is None:
            continue  # pydantic's own steps: the branch of a union, the name of a validator
        parts.append(step)
        node = node.children.get(step.lower()) if node is not None else None
        node = wiretree.opened(node, step) if node is not None and field[0].name != "scalar" else node
        code = _declared_code(field[1]) or code
        inner = field[0].inner.inner if field[0].name == "list" else field[0].inner
        current = inner if isinstance(inner, type) and issubclass(inner, Params) else None
    return ".".join(parts), node, code


def _declared_code(info: FieldInfo) -> str | None:
    """The ErrorCode of a field, also where it stands inside an `… | None`."""
    found = list(info.metadata)
    for option in get_args(info.annotation):
        for item in get_args(option)[1:] if get_origin(option) is Annotated else ():
            found += item.metadata if isinstance(item, FieldInfo) else [item]
    return next((marker.code for marker in found if isinstance(marker, ErrorCode)), None)
