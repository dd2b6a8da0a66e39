"""Finding backends: all of them, ours included, come through the entry-point group ``criadapt.backends``.

Nothing is imported until it is asked for by name, so that an engine whose library is missing or slow to import
costs nobody anything who does not use it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from criadapt.errors import FailedPrecondition, InvalidArgument

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from criadapt.backends.base import Backend

GROUP = "criadapt.backends"


@dataclass(frozen=True, slots=True)
class Installed:
    """A backend that some installed distribution offers."""

    name: str
    entry: EntryPoint
    rival: Installed | None = None
    """Another distribution's backend of the same name; then neither can be used."""

    @property
    def distribution(self) -> str:
        """Who offers it, with version: ``criadapt 0.1.0``."""
        dist = self.entry.dist
        return f"{dist.name} {dist.version}" if dist else "unknown distribution"

    def load(self) -> type[Backend]:
        """Import it. Raises FailedPrecondition saying what to install or whom to tell."""
        if self.rival is not None:
            both = f"{self.rival.distribution} and {self.distribution}"
            raise FailedPrecondition(f"backend {self.name!r} is offered by both {both}; uninstall one of them")
        what = f"backend {self.name!r} of {self.distribution}"
        try:
            found = self.entry.load()
        except ImportError as error:
            raise FailedPrecondition(f"{what} cannot be imported: {error}; try: {self._install()}") from error
        except AttributeError as error:
            raise FailedPrecondition(f"{what} is broken: there is no {self.entry.value} ({error})") from error
        _check(found, self.name, f"{what} is broken: {self.entry.value}")
        return found  # type: ignore[no-any-return]  # just checked

    def _install(self) -> str:
        dist, extras = self.entry.dist, self.entry.extras
        name = dist.name if dist else "its distribution"
        return f"pip install '{name}[{','.join(extras)}]'" if extras else f"pip install --upgrade {name}"


def available() -> dict[str, Installed]:
    """The installed backends by name."""
    from importlib.metadata import entry_points

    found: dict[str, Installed] = {}
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        other = found.get(entry.name)
        if other is None or other.entry.value != entry.value:
            found[entry.name] = Installed(entry.name, entry, rival=other)
    return found


def load(name: str) -> type[Backend]:
    """Import the backend called `name`, and no other."""
    installed = available()
    if name not in installed:
        raise InvalidArgument(f"backend {name!r} is not installed{_hint(name, list(installed))}")
    return installed[name].load()


def _hint(name: str, known: list[str]) -> str:
    from difflib import get_close_matches

    if not known:
        return "; none is, so criadapt itself is not properly installed: pip install criadapt"
    similar = get_close_matches(name, known, n=1)
    meant = f", did you mean {similar[0]!r}?" if similar else ";"
    return f"{meant} installed: {', '.join(known)}"


def _check(found: object, name: str, broken: str) -> None:
    from dataclasses import is_dataclass

    from criadapt.backends.base import Backend

    if not (isinstance(found, type) and issubclass(found, Backend)):
        raise FailedPrecondition(f"{broken} is not a subclass of criadapt.backends.base.Backend")
    if missing := sorted(found.__abstractmethods__):
        raise FailedPrecondition(f"{broken} does not implement {', '.join(missing)}")
    if getattr(found, "name", None) != name:
        raise FailedPrecondition(f"{broken}.name must be {name!r}, the name of its entry point")
    options = getattr(found, "Options", None)
    if not (isinstance(options, type) and is_dataclass(options)):
        raise FailedPrecondition(f"{broken}.Options must be a dataclass")
