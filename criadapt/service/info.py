"""What a verbose status adds: one key ``info`` with a JSON text, as containerd and CRI-O have it."""

from __future__ import annotations

from typing import Any

import msgspec

from criadapt.core.records import ContainerRecord, SandboxRecord
from criadapt.core.runtime import Runtime
from criadapt.errors import CriadaptError


async def of_sandbox(runtime: Runtime, record: SandboxRecord) -> dict[str, str]:
    """Process id, engine state, and the config as it was asked for."""
    return _info(
        **await _engine(runtime, record.id),
        runtimeHandler=record.handler,
        reason=record.reason,
        ips=record.ips,
        config=record.config,
    )


async def of_container(runtime: Runtime, record: ContainerRecord) -> dict[str, str]:
    """Process id, engine state, and the config as it was asked for."""
    return _info(sandboxID=record.sandbox_id, **await _engine(runtime, record.id), config=record.config)


def of_runtime(runtime: Runtime) -> dict[str, str]:
    """Engine and configuration; ``stateDir`` is where tools look for the filesystem of the state."""
    engine = {"name": runtime.info.name, "version": runtime.info.version, **runtime.info.details}
    config = {
        "stateDir": str(runtime.state_dir),
        "backend": runtime.backend.name,
        "pauseImage": runtime.config.images.pause,
        "podCIDR": runtime.pod_cidr,
        "streaming": runtime.sessions.base_url,
        "cgroupDriver": runtime.info.cgroup_driver.name.lower(),
    }
    return {"config": msgspec.json.encode(config).decode(), "engine": msgspec.json.encode(engine).decode()}


async def _engine(runtime: Runtime, id: str) -> dict[str, Any]:
    try:
        found = await runtime.backend.inspect(id)
    except CriadaptError as error:
        return {"pid": 0, "engineState": "unknown", "engineError": str(error)}
    return {"pid": found.pid, "engineState": found.state.value, "engineName": found.name}


def _info(**facts: Any) -> dict[str, str]:
    return {"info": msgspec.json.encode(facts).decode()}
