"""Documents as a block storage service has them, about 1 kB of JSON each; functions of an index."""

from __future__ import annotations

from functools import cache
from typing import Any
from uuid import UUID

STATES = ("available", "in-use", "creating", "error")


@cache
def sample(count: int) -> list[tuple[str, dict[str, Any]]]:
    """The first volumes with their ids, made once: making them is not what is measured."""
    return [(volume_id(index), volume(index)) for index in range(count)]


def volume_id(index: int) -> str:
    return str(UUID(int=(index + 1) * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128, version=4))


def volume(index: int, generation: int = 0) -> dict[str, Any]:
    """A volume; ``generation`` changes one field of it."""
    host = f"storage-{index % 10:02d}@lvm{index % 4}#pool{index % 4}"
    return {
        "attach_status": "detached",
        "availability_zone": "nova",
        "bootable": index % 3 == 0,
        "cluster_name": None,
        "consistencygroup_id": None,
        "created_at": f"2024-05-{1 + index % 28:02d}T12:{index % 60:02d}:00.000000",
        "deleted": False,
        "deleted_at": None,
        "display_description": f"Data of the customers' shop, shard {index}; see the runbook",
        "display_name": f"shop-db-{index}",
        "encryption_key_id": None,
        "group_id": None,
        "host": host,
        "id": volume_id(index),
        "launched_at": f"2024-05-{1 + index % 28:02d}T12:{index % 60:02d}:07.000000",
        "metadata": {"owner": f"team-{index % 17}", "readonly": "False", "tier": "gold"},
        "migration_status": None,
        "multiattach": False,
        "project_id": "7c3f9d4e8b6a4f0d9a1c2b3d4e5f6071",
        "provider_auth": f"CHAP user{index} 3kf0Zr7TqL9xWv2m",
        "provider_geometry": None,
        "provider_id": None,
        "provider_location": f"10.0.0.{index % 250}:3260,1 iqn.2010-10.org.openstack:{index}",
        "replication_driver_data": f"generation-{generation}",
        "replication_status": "disabled",
        "service_uuid": None,
        "size": 1 + index % 100,
        "snapshot_id": None,
        "source_volid": None,
        "status": STATES[index % len(STATES)],
        "user_id": "b1f6c0a2",
        "volume_type_id": None,
    }
