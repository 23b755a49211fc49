"""Quotas (SPEC section 0, G7): the guide's defaults, and what overrides them."""

from __future__ import annotations

import pytest

from agent.config import Config, ConfigError
from agent.core.errors import QuotaExceeded
from agent.services import quota
from tests.support.cloud import Cloud

GUIDE = {
    "instances": 10,
    "data_disks_per_instance": 16,
    "data_disk_gib_per_instance": 32768,
    "cloud_disks": 50,
    "disks": 250,
    "snapshots_per_disk": 64,
    "auto_snapshot_policies": 100,
    "image_share_accounts": 50,
    "security_groups": 100,
    "security_group_rules": 100,
    "security_groups_per_instance": 5,
    "instances_per_security_group": 1000,
    "key_pairs": 500,
    "tags_per_resource": 10,
    "tags_per_call": 5,
    "vpcs": 5,
    "vswitches_per_vpc": 24,
    "route_entries_per_table": 48,
    "eips": 20,
    "bandwidth_mbps": 200,
    "port_forwards": 100,  # our own
    "secondary_ips_per_interface": 49,  # as the current public API has it
}


def test_the_defaults_are_the_guides(cloud: Cloud) -> None:
    with cloud.caller() as caller:
        assert quota.limits(caller) == GUIDE


def test_an_error_says_the_limit_and_the_use(cloud: Cloud) -> None:
    with cloud.caller() as caller:
        quota.check(caller, "instances", 8, 2)
        with pytest.raises(QuotaExceeded) as caught:
            quota.check(caller, "instances", 8, 3)
    assert (caught.value.code, caught.value.status) == ("QuotaExceed.ElasticQuota", 403)
    assert "10" in caught.value.message
    assert "8 are in use" in caught.value.message


@pytest.mark.parametrize("quotas", [{"vpc": 3}, {"vpcs": -1}, {"vpcs": True}])
def test_a_configuration_that_cannot_be_meant(quotas: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=r"quotas\.vpc"):
        quota.check_names(Config(quotas=quotas))
    quota.check_names(Config(quotas={"vpcs": 0}))
