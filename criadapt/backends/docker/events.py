"""What the engine says has happened."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from criadapt.backends.base import EngineEvent, EventKind
from criadapt.backends.docker import wire
from criadapt.errors import ContainerNotFound

if TYPE_CHECKING:
    from criadapt.backends.docker.engine import DockerBackend

WANTED = {
    "type": ["container", "image"],
    "event": ["die", "destroy", "pull", "tag", "untag", "delete", "import", "load"],
}


async def following_events(engine: DockerBackend) -> AsyncIterator[EngineEvent]:
    """Events from now on. Ends or raises Unavailable when the engine goes away."""
    path = f"/v{engine.version}/events?{urlencode({'filters': json.dumps(WANTED)})}"
    rest = b""
    async with wire.stream(engine.socket, "GET", path) as pieces:
        async for piece in pieces:
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                event = await _event(engine, json.loads(line)) if line.strip() else None
                if event is not None:
                    yield event


async def _event(engine: DockerBackend, told: Mapping[str, Any]) -> EngineEvent | None:
    """What it means for us; None for containers of others."""
    time_ns = int(told.get("timeNano", 0))
    if told["Type"] == "image":
        engine.images_changed()
        return EngineEvent(kind=EventKind.IMAGES, time_ns=time_ns)
    id, attributes = told["Actor"]["ID"], told["Actor"]["Attributes"]
    if not engine.is_ours(attributes):
        return None
    if told["Action"] == "destroy":
        engine.forget(id)
        return EngineEvent(kind=EventKind.GONE, id=id, time_ns=time_ns)
    try:
        found = await engine.ended(id)
    except ContainerNotFound:  # removed at once: the event is all there is
        return EngineEvent(
            kind=EventKind.EXITED, id=id, time_ns=time_ns, exit_code=int(attributes.get("exitCode") or 255)
        )
    return EngineEvent(
        kind=EventKind.EXITED,
        id=id,
        time_ns=found.finished_at or time_ns,
        exit_code=found.exit_code,
        oom_killed=found.oom_killed,
    )
