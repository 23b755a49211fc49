"""The machine of an instance, for plain QEMU to be compared with."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.bench.plain import Machine
from tests.support.agent import HOST, AgentProcess


def wanted(image_id: str) -> dict[str, Any]:
    """The parameters of an instance of the image, as small as it can be."""
    size = 1 if image_id == "tiny_x64" else 6
    return {"ImageId": image_id, "InstanceType": "ecs.t1.small", "SystemDisk": {"Size": size}}


def machine_of(agent: AgentProcess, image_id: str, directory: Path) -> Machine:
    """That of an instance which never runs: its seed and card are plain QEMU's, so that no two guests share them."""
    agent.ensure_image(image_id)
    params = wanted(image_id)
    instance_id = agent.call("CreateInstance", **params)["InstanceId"]
    agent.wait_status(instance_id, "Stopped")
    data = agent.root / "data"
    seed = directory / "seed.iso"
    seed.write_bytes((data / "seeds" / f"{instance_id}.iso").read_bytes())
    card = agent.instance(instance_id)["NetworkInterfaces"]["NetworkInterface"][0]  # type: ignore[index]
    host = agent.call("DescribeHost", HOST)["Host"]
    (image,) = (data / "images").glob(f"{image_id}-*.qcow2")
    return Machine(
        image=image,
        seed=seed,
        mac=card["MacAddress"],
        uuid="c0ffee00-0000-4000-8000-000000000001",
        memory_mib=1024,
        disk_gib=params["SystemDisk"]["Size"],
        accelerator=host["Acceleration"]["Kind"],
    )


@contextmanager
def instance_of(agent: AgentProcess, image_id: str) -> Iterator[tuple[str, float]]:
    """The id of a new instance and when it was asked for."""
    began = time.perf_counter()
    instance_id = agent.run_instance(**wanted(image_id))
    yield instance_id, began
    agent.call("DeleteInstance", InstanceId=instance_id, Force="true")
    agent.wait_status(instance_id, None)
    agent.wait_jobs()
