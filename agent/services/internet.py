"""The public bandwidth that is asked for with an instance, and later (SPEC N3, N6)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from agent.services import public_address
from agent.services.context import Caller
from agent.store.schema import Instance

LEAST_IN_MBPS = 10  # where nobody says how much may come in


@dataclass(frozen=True)
class Internet:
    """In Mbit/s of 1,024 kbit/s. `in_mbps` None: the system chooses. `out_mbps` 0: no public address."""

    in_mbps: int | None = None
    out_mbps: int = 0
    charge_type: str = public_address.BY_TRAFFIC

    def put(self, instance: Instance) -> None:
        instance.internet_in_mbps = self.in_mbps or 0
        instance.internet_out_mbps = self.out_mbps
        instance.internet_charge_type = self.charge_type


def resolved(caller: Caller, wanted: Internet, *, charge_parameter: str = "InternetChargeType") -> Internet:
    """With every choice made; raises InvalidParameter for what cannot be had."""
    code = "ValueNotSupported"
    public_address.check_charge_type(charge_parameter, wanted.charge_type, code=f"Invalid{charge_parameter}.{code}")
    name = "InternetMaxBandwidthOut"
    public_address.check_bandwidth(caller, name, wanted.out_mbps, least=0, code=f"Invalid{name}.{code}")
    if wanted.in_mbps is not None:
        name = "InternetMaxBandwidthIn"
        public_address.check_bandwidth(caller, name, wanted.in_mbps, least=1, code=f"Invalid{name}.{code}")
    elif wanted.out_mbps:
        return replace(wanted, in_mbps=max(LEAST_IN_MBPS, wanted.out_mbps))
    return wanted
