"""A network for a machine that has none: what ``criadapt doctor --fix`` writes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from criadapt.errors import AlreadyExists, FailedPrecondition, storage_failed
from criadapt.network import chain
from criadapt.network.config import VERSIONS, parse
from criadapt.network.plugin import Plugins
from criadapt.network.podinfo import cidrs

BRIDGE: Final = "criadapt0"
NAME: Final = "criadapt"

_NEEDED = ("bridge", "host-local")
_ANYWHERE = {4: "0.0.0.0/0", 6: "::/0"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A configuration that was written, and what its reader should know of it."""

    path: Path
    version: str
    plugins: tuple[str, ...]
    notes: tuple[str, ...] = ()


async def write_default_conflist(
    path: Path, plugin_dirs: Sequence[Path], subnet: str, *, bridge: str = BRIDGE, name: str = NAME
) -> Written:
    """Write a bridge with addresses of `subnet` (two, separated by a comma, for dual stack), masqueraded.

    portmap (host ports) and firewall (accept the pods' traffic where FORWARD drops by default, as Docker sets it) are
    in the chain when they are installed, and in the notes when not. Raises FailedPrecondition when the bridge itself
    is not installed, AlreadyExists rather than overwrite, InvalidArgument for a wrong subnet.
    """
    subnets = cidrs(subnet)
    plugins = Plugins(plugin_dirs)
    for needed in _NEEDED:
        if plugins.find(needed) is None:
            raise FailedPrecondition(
                f"CNI plugin {needed!r} is in none of {plugins.where}; install it (Debian and Fedora: "
                "containernetworking-plugins)"
            )
    entries: list[dict[str, Any]] = [_bridge(bridge, subnets)]
    notes: list[str] = []
    if plugins.find("portmap"):
        entries.append({"type": "portmap", "capabilities": {"portMappings": True}})
    else:
        notes.append("plugin 'portmap' is not installed: host ports of pods will not be published")
    if plugins.find("firewall"):
        entries.append({"type": "firewall"})
    else:
        notes.append(
            "plugin 'firewall' is not installed: where the policy of iptables' FORWARD chain is DROP (Docker sets it), "
            f"pods reach each other only after: iptables -I FORWARD -i {bridge} -j ACCEPT; "
            f"iptables -I FORWARD -o {bridge} -j ACCEPT"
        )
    content: dict[str, Any] = {"cniVersions": list(VERSIONS[3:]), "name": name, "plugins": entries}
    version = await chain.version_for(parse(content, str(path)), plugins)
    del content["cniVersions"]
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            json.dump({"cniVersion": version, **content}, file, indent=2)
            file.write("\n")
    except FileExistsError:
        raise AlreadyExists(f"{path} is there already; remove it first") from None
    except OSError as error:
        raise storage_failed(f"{path} cannot be written", error) from error
    return Written(path=path, version=version, plugins=tuple(each["type"] for each in entries), notes=tuple(notes))


def _bridge(bridge: str, subnets: Sequence[str]) -> dict[str, Any]:
    families = dict.fromkeys(6 if ":" in subnet else 4 for subnet in subnets)
    return {
        "type": "bridge",
        "bridge": bridge,
        "isGateway": True,
        "ipMasq": True,
        "hairpinMode": True,  # a pod may reach itself through its own host port
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": subnet}] for subnet in subnets],
            "routes": [{"dst": _ANYWHERE[family]} for family in families],
        },
    }
