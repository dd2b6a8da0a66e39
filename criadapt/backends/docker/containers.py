"""What the engine says of its containers, as the port has it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from criadapt.backends.base import EngineContainer, EngineState

_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)")
_STATES = {
    "created": EngineState.CREATED,
    "running": EngineState.RUNNING,
    "paused": EngineState.RUNNING,
    "restarting": EngineState.RUNNING,
    "removing": EngineState.EXITED,
    "exited": EngineState.EXITED,
    "dead": EngineState.EXITED,
}


def nanoseconds(text: str) -> int:
    """A time of the engine's, RFC 3339 with up to nine digits after the point; its year 1 means never, hence 0."""
    found = _TIME.fullmatch(text)
    if found is None or text.startswith("0001-"):
        return 0
    whole = datetime.fromisoformat(found[1] + ("+00:00" if found[3] == "Z" else found[3])).astimezone(UTC)
    return int(whole.timestamp()) * 1_000_000_000 + int((found[2] or "0").ljust(9, "0"))


def state_of(word: str) -> EngineState:
    """A state as the engine names it."""
    return _STATES.get(word, EngineState.EXITED)


def container_of(answer: Mapping[str, Any]) -> EngineContainer:
    """What ``GET /containers/{id}/json`` says."""
    state, config = answer["State"], answer["Config"]
    what = state_of(state["Status"])
    started, finished = nanoseconds(state["StartedAt"]), nanoseconds(state["FinishedAt"])
    if what is EngineState.CREATED and state.get("Error"):
        started = 0
    return EngineContainer(
        id=answer["Id"],
        name=answer["Name"].removeprefix("/"),
        labels=config.get("Labels") or {},
        image_id=answer["Image"],
        state=what,
        created_at=nanoseconds(answer["Created"]),
        started_at=started if what is not EngineState.CREATED else 0,
        finished_at=finished if what is EngineState.EXITED else 0,
        exit_code=state["ExitCode"] if what is EngineState.EXITED else 0,
        oom_killed=bool(state.get("OOMKilled")) and what is EngineState.EXITED,
        error=state.get("Error") or "",
        pid=state["Pid"] if what is EngineState.RUNNING else 0,
        ips=addresses(answer["NetworkSettings"]),
    )


def addresses(settings: Mapping[str, Any]) -> tuple[str, ...]:
    """The addresses on the engine's networks, IPv4 before IPv6 on each."""
    found: list[str] = []
    for network in (settings.get("Networks") or {}).values():
        found += [network.get(key) or "" for key in ("IPAddress", "GlobalIPv6Address")]
    return tuple(address for address in found if address)


class Known:
    """Containers that were looked at closely. A list row tells when that is out of date: its state is another one."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, EngineContainer]] = {}

    def put(self, answer: Mapping[str, Any]) -> EngineContainer:
        """Keep what an inspection said."""
        found = container_of(answer)
        self._known[found.id] = (answer["State"]["Status"], found)
        return found

    def get(self, row: Mapping[str, Any]) -> EngineContainer | None:
        """What is known of a container in the list, if it still holds."""
        state, found = self._known.get(row["Id"], ("", None))
        return found if state == row["State"] else None

    def running(self, id: str) -> EngineContainer | None:
        """The container, if it ran when it was last looked at; it may have ended since."""
        _, found = self._known.get(id, ("", None))
        return found if found is not None and found.state is EngineState.RUNNING else None

    def forget(self, id: str) -> None:
        """It has changed, or is gone."""
        self._known.pop(id, None)

    def keep(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Forget all that are not in the list."""
        self._known = {row["Id"]: self._known[row["Id"]] for row in rows if row["Id"] in self._known}
