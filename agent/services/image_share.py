"""Sharing images with other accounts of the host (SPEC M6)."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Select, func, select

from agent.core.errors import ApiError, Conflict, InvalidParameter
from agent.services import image as images
from agent.services import quota
from agent.services.context import Caller
from agent.store.schema import Account, Image, ImageShare

MOST_IN_ONE_CALL = 10


class AccountNotFound(ApiError):
    """Nobody to share with."""

    code, status = "InvalidAccount.NotFound", 404


def change(caller: Caller, image_id: str, *, add: Sequence[str] = (), remove: Sequence[str] = ()) -> None:
    """Share an own image with accounts, and stop sharing it with others; what is so already stays so."""
    image = images.get_own(caller, image_id)
    for name, accounts in (("AddAccount", add), ("RemoveAccount", remove)):
        if len(accounts) > MOST_IN_ONE_CALL:
            raise InvalidParameter(name, len(accounts), f"at most {MOST_IN_ONE_CALL} accounts in one call.")
    for account_id in dict.fromkeys(remove):
        _stop(caller, image, account_id)
    new = [account_id for account_id in dict.fromkeys(add) if _is_new(caller, image, account_id)]
    if new and image.status != images.AVAILABLE:
        raise Conflict(
            f'The image "{image.id}" is {image.status}: it must be {images.AVAILABLE} to be shared.',
            code="IncorrectImageStatus",
        )
    quota.check(caller, "image_share_accounts", _count(caller, image), len(new), of=image.id)
    now = caller.services.clock.now()
    caller.session.add_all(ImageShare(image_id=image.id, account_id=one, shared_at=now) for one in new)
    caller.session.flush()


def _stop(caller: Caller, image: Image, account_id: str) -> None:
    _account(caller, account_id)
    share = caller.session.get(ImageShare, (image.id, account_id))
    if share is not None:
        caller.session.delete(share)
        caller.session.flush()


def _is_new(caller: Caller, image: Image, account_id: str) -> bool:
    if account_id == caller.account_id:
        message = f'The image "{image.id}" is of the account "{account_id}" itself.'
        raise AccountNotFound(message, code="InvalidAccount.Forbbiden")  # spelt like this in public
    _account(caller, account_id)
    return caller.session.get(ImageShare, (image.id, account_id)) is None


def _account(caller: Caller, account_id: str) -> None:
    if caller.session.get(Account, account_id) is None:
        raise AccountNotFound(f'There is no account "{account_id}" to share with.')


def _count(caller: Caller, image: Image) -> int:
    return caller.session.scalar(select(func.count()).where(ImageShare.image_id == image.id)) or 0


def find_shares(caller: Caller, image_id: str) -> Select[ImageShare]:
    """With whom an own image is shared, in order of time."""
    image = images.get_own(caller, image_id)
    found = select(ImageShare).where(ImageShare.image_id == image.id)
    return found.order_by(ImageShare.shared_at, ImageShare.account_id)


def shared_ids(caller: Caller, image_ids: Sequence[str]) -> set[str]:
    """Those of the images that are shared with somebody."""
    return set(caller.session.scalars(select(ImageShare.image_id).where(ImageShare.image_id.in_(image_ids))))
