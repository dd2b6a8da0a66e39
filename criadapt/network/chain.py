"""One pod through the plugins of one network: ADD in order, CHECK, DEL in reverse. Knows no files and no locks.

Facts: CNI specification, section 3. Each plugin gets its own object of the configuration with the network's name and
version, the capabilities it asked for as ``runtimeConfig``, and as ``prevResult`` what the one before it answered (ADD)
or what the last one had answered (CHECK, DEL).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final

from criadapt.errors import EngineError, Unavailable
from criadapt.network.cache import Attachment
from criadapt.network.config import NetworkConfig, Plugin, at_least
from criadapt.network.plugin import TRY_AGAIN, UNKNOWN_VARIABLES, Command, Parameters, PluginFailed, Plugins
from criadapt.network.podinfo import runtime_config
from criadapt.network.result import addresses

_PREV_RESULT_SINCE: Final = "0.4.0"  # for DEL; CHECK came with it
_STATUS_SINCE: Final = "1.1.0"  # and GC

_DOING: Final = {"ADD": "add", "DEL": "remove", "CHECK": "find in order"}


async def version_for(network: NetworkConfig, plugins: Plugins) -> str:
    """The newest version that the configuration declares and all its plugins know. Raises Unavailable."""
    known = {name: await plugins.versions(name) for name in network.executables}
    for version in network.versions:
        if all(versions is None or version in versions for versions in known.values()):
            return version
    limits = "; ".join(
        f"plugin {name!r} knows {', '.join(sorted(versions))}"
        for name, versions in known.items()
        if versions is not None and not versions.intersection(network.versions)
    )
    raise Unavailable(
        f"CNI network {network.name!r} ({network.path}) is of version {', '.join(network.versions)}, but "
        f"{limits or 'its plugins have none of these in common'}; change its cniVersion or update the plugins"
    )


async def add(
    plugins: Plugins, attachment: Attachment, timeout: float, note: Callable[[Attachment], None]
) -> tuple[str, ...]:
    """Give a pod its network; returns its addresses. `note` is told how far it has come, in time for a crash."""
    network = attachment.config()
    for plugin in network.plugins:
        if attachment.result is not None:
            note(attachment)
        with _explained(attachment, network, plugin, "ADD"):
            told = _told(plugin, network, attachment, attachment.result)
            result = await plugins.run(plugin.type, "ADD", told, _about(attachment), timeout=timeout)
        attachment = replace(attachment, result=result)
    found: tuple[str, ...] = ()
    try:
        with _explained(attachment, network, network.plugins[-1], "ADD"):
            found = addresses(attachment.result or {}, attachment.ifname)
    finally:
        note(replace(attachment, complete=bool(found)))
    if not found:
        raise EngineError(
            f"CNI network {network.name!r} gave pod {attachment.pod!r} no address on {attachment.ifname}; "
            f'look at "ipam" in {network.path}'
        )
    return found


async def delete(plugins: Plugins, attachment: Attachment, alive: Callable[[], bool], timeout: float) -> None:
    """Take a pod's network back. `alive` tells whether its namespace is still there; it may vanish at any moment."""
    network = attachment.config()
    for plugin in reversed(network.plugins):
        prev = attachment.result if at_least(attachment.version, _PREV_RESULT_SINCE) else None
        told = _told(plugin, network, attachment, prev)
        there, gone = _about(attachment), _about(replace(attachment, netns=""))
        with _explained(attachment, network, plugin, "DEL"):
            if alive():
                try:
                    await plugins.run(plugin.type, "DEL", told, there, timeout=timeout)
                    continue
                except PluginFailed:
                    if alive():
                        raise  # otherwise it may have failed for that very reason
            await plugins.run(plugin.type, "DEL", told, gone, timeout=timeout)


async def check(plugins: Plugins, attachment: Attachment, timeout: float) -> None:
    """Ask the plugins whether a pod's network is as they made it, where they can tell."""
    network = attachment.config()
    if network.disable_check or not attachment.complete or not at_least(attachment.version, _PREV_RESULT_SINCE):
        return
    for plugin in network.plugins:
        with _explained(attachment, network, plugin, "CHECK"):
            told = _told(plugin, network, attachment, attachment.result)
            await plugins.run(plugin.type, "CHECK", told, _about(attachment), timeout=timeout)


async def status(plugins: Plugins, network: NetworkConfig, version: str, timeout: float) -> str:
    """Why pods cannot be added now, in the plugins' words; empty if they can, or cannot tell (before CNI 1.1)."""
    if not at_least(version, _STATUS_SINCE):
        return ""
    for plugin in network.plugins:
        told = _configured(plugin, network, version)
        try:
            await plugins.run(plugin.type, "STATUS", told, timeout=timeout)
        except PluginFailed as error:
            if error.code != UNKNOWN_VARIABLES:  # it claims 1.1 and does not know the command
                return f"CNI plugin {plugin.type!r} of network {network.name!r} is not ready: {error}"
    return ""


async def collect(
    plugins: Plugins, network: NetworkConfig, version: str, valid: list[tuple[str, str]], timeout: float
) -> None:
    """Let the plugins free what belongs to none of the `valid` attachments (container id, interface)."""
    if network.disable_gc or not at_least(version, _STATUS_SINCE):
        return
    attachments = [{"containerID": id, "ifname": ifname} for id, ifname in valid]
    for plugin in network.plugins:
        told = _configured(plugin, network, version) | {"cni.dev/valid-attachments": attachments}
        try:
            await plugins.run(plugin.type, "GC", told, timeout=timeout)
        except PluginFailed as error:
            raise EngineError(
                f"CNI plugin {plugin.type!r} cannot clean up network {network.name!r}: {error}"
            ) from error


def _configured(plugin: Plugin, network: NetworkConfig, version: str) -> dict[str, Any]:
    kept = {key: value for key, value in plugin.raw.items() if key not in ("capabilities", "prevResult")}
    return kept | {"name": network.name, "cniVersion": version}


def _told(
    plugin: Plugin, network: NetworkConfig, attachment: Attachment, prev: Mapping[str, Any] | None
) -> dict[str, Any]:
    told = _configured(plugin, network, attachment.version)
    if runtime := runtime_config(plugin, attachment.capabilities):
        told["runtimeConfig"] = runtime
    if prev is not None:
        told["prevResult"] = prev
    return told


def _about(attachment: Attachment) -> Parameters:
    return Parameters(id=attachment.id, netns=attachment.netns, ifname=attachment.ifname, args=attachment.args)


@contextmanager
def _explained(attachment: Attachment, network: NetworkConfig, plugin: Plugin, command: Command) -> Iterator[None]:
    """Says in a plugin's failure which plugin, network and pod it was about."""
    try:
        yield
    except PluginFailed as error:
        failure = Unavailable if error.code == TRY_AGAIN else EngineError
        raise failure(
            f"CNI plugin {plugin.type!r} of network {network.name!r} cannot {_DOING[command]} pod "
            f"{attachment.pod!r}: {error}"
        ) from error
