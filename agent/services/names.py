"""What guests may know of their neighbours' names: the instances of their own account in their own VPC."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.orm import Session

from agent.core.specs import INTRANET
from agent.store.schema import Instance, NetworkInterface, SecondaryAddress, Vpc
from agent.store.store import Store


@dataclass(frozen=True)
class Neighbours:
    """As one guest sees them. Every question is a look into the store."""

    store: Store
    vpc_id: str
    source: str

    def addresses(self, label: str) -> Sequence[str]:
        """Private addresses of the instances with that host name, else that id, else that name; `label` in lower
        case."""
        with self.store.read() as session:
            account = self._account(session)
            for named in (
                func.lower(Instance.host_name) == label,
                Instance.id == label,
                func.lower(Instance.name) == label,
            ):
                found = list(session.scalars(self._interfaces(account, named)))
                if found:
                    return found
        return ()

    def host_name(self, address: str) -> str | None:
        """Of the instance that has the address, its primary or a secondary one."""
        secondary = select(SecondaryAddress.interface_id).where(
            SecondaryAddress.vpc_id == self.vpc_id, SecondaryAddress.ip == address
        )
        here = NetworkInterface.vpc_id == self.vpc_id
        has = (NetworkInterface.ip == address) | NetworkInterface.id.in_(secondary)
        with self.store.read() as session:
            mine = Instance.account_id == self._account(session)
            found = select(Instance.host_name).join(Instance.interfaces).where(here, has, mine)
            return session.scalar(found.limit(1))

    def is_inside(self, address: str) -> bool:
        """Whether it is one of the VPC's own network, which nobody outside can tell about."""
        with self.store.read() as session:
            cidr = session.scalar(select(Vpc.cidr).where(Vpc.id == self.vpc_id))
        return cidr is not None and ipaddress.IPv4Address(address) in ipaddress.IPv4Network(cidr)

    def _account(self, session: Session) -> str | None:
        """Whose the guest is: the classic network has instances of several accounts."""
        asking = select(NetworkInterface.account_id).where(
            NetworkInterface.vpc_id == self.vpc_id, NetworkInterface.ip == self.source
        )
        secondary = select(NetworkInterface.account_id).join(NetworkInterface.secondary)
        also = secondary.where(SecondaryAddress.vpc_id == self.vpc_id, SecondaryAddress.ip == self.source)
        return session.scalar(asking) or session.scalar(also)

    def _interfaces(self, account: str | None, named: ColumnElement[bool]) -> Select[str]:
        return (
            select(NetworkInterface.ip)
            .join(Instance, Instance.id == NetworkInterface.instance_id)
            .where(
                NetworkInterface.vpc_id == self.vpc_id,
                NetworkInterface.nic_type == INTRANET,
                Instance.account_id == account,
                Instance.releasing.is_(False),
                named,
            )
            .order_by(NetworkInterface.ip)
        )


class Names:
    """For the name server."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def known_to(self, vpc_id: str, source: str) -> Neighbours:
        return Neighbours(self._store, vpc_id, source)
