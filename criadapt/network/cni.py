"""Pods on a CNI network: the plugins that an administrator configured connect them.

What is under way for one pod is one thing at a time; different pods go on beside each other. A failed, timed out or
cancelled ADD is taken back before the caller hears of it; if that fails, what is known stays on disk, and the next
detach() goes on from there.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakValueDictionary

from criadapt.errors import CriadaptError, EngineError, InvalidArgument, NotFound, PermissionDenied, Unavailable
from criadapt.host import netns
from criadapt.model.sandbox import PodSandboxConfig
from criadapt.network import chain, podinfo
from criadapt.network.base import READY, Network, Readiness
from criadapt.network.cache import Attachment, Cache
from criadapt.network.config import ConfigDir, NetworkConfig
from criadapt.network.plugin import PROBE_SECONDS, Plugins
from criadapt.network.result import addresses

log = logging.getLogger(__name__)

CONFIG_DIR = Path("/etc/cni/net.d")
"""Where kubeadm and the network providers put configurations."""
PLUGIN_DIRS = (Path("/opt/cni/bin"), Path("/usr/lib/cni"), Path("/usr/libexec/cni"))
"""Where network providers, Debian and Fedora put plugins."""

PLUGIN_SECONDS = 120.0
"""For one plugin's ADD or DEL; some wait for an API server. Kubelet itself gives up after 4 minutes."""
CLEANUP_SECONDS = 60.0
"""For taking back a failed ADD, whatever the caller's own deadline."""
STATUS_SECONDS = 10.0
"""Age up to which an answer to STATUS is used again: kubelet asks every 5 s, and asking costs processes."""
PARALLEL = 16
"""Pods that plugins may work on at once; they wait for each other's locks anyway."""

_NOT_READY = "NetworkPluginNotReady"  # the reason that kubelet's users know

NetnsOf = Callable[[str], Awaitable[str]]
"""Path of the network namespace of a running infra container."""


@dataclass(frozen=True, slots=True)
class _Usable:
    network: NetworkConfig
    version: str


class CNINetwork(Network):
    """Runs the plugins of the first configuration in `config_dir`.

    `state_dir` gets a folder ``cni`` for what is known of pods. With `pin` it gets a folder ``netns`` too, where the
    namespaces of pods are held until plugins have cleaned up in them: for engines whose namespaces die with the infra
    container, which has been killed by then. Plugins cannot remove all they made when the namespace is gone.
    """

    engine_connects = False

    def __init__(
        self,
        *,
        netns_of: NetnsOf,
        state_dir: Path,
        pin: bool,
        config_dir: Path = CONFIG_DIR,
        plugin_dirs: Sequence[Path] = PLUGIN_DIRS,
        ifname: str = "eth0",
        plugin_seconds: float = PLUGIN_SECONDS,
    ) -> None:
        self._netns_of = netns_of
        self._pins = state_dir / "netns" if pin else None
        self._cache = Cache(state_dir / "cni")
        self._configs = ConfigDir(config_dir)
        self._plugins = Plugins(plugin_dirs)
        self._ifname = ifname
        self._seconds = plugin_seconds
        self._pod_cidrs: tuple[str, ...] = ()
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._slots = asyncio.Semaphore(PARALLEL)
        self._asking = asyncio.Lock()
        self._status: tuple[_Usable, float, str] | None = None  # asked of what, when, and the answer

    # ------------------------------------------------------------------ the port

    async def attach(self, id: str, config: PodSandboxConfig) -> tuple[str, ...]:
        """Run ADD; a pod that is attached already keeps its addresses.

        Raises Unavailable when there is no usable configuration, InvalidArgument for what cannot be told to plugins.
        """
        async with self._turn(id):
            known = self._cache.get(id)
            namespace = await self._hold(id)
            if known is not None:
                if known.complete and known.namespace == netns.identity(namespace):
                    return addresses(known.result or {}, known.ifname)
                await self._release(known)  # cut short by a crash, or of a namespace that is no more
                namespace = await self._hold(id)
            try:
                attachment = self._new(id, config, await self._usable(), namespace)
                self._cache.put(attachment)
            except BaseException:
                self._let_go(id)
                raise
            try:
                with _namespace_errors(id):
                    await netns.loopback_up(namespace)
                return await chain.add(self._plugins, attachment, self._seconds, self._cache.put)
            except BaseException:
                await _to_the_end(self._take_back(self._cache.get(id) or attachment))
                raise

    async def detach(self, id: str, config: PodSandboxConfig) -> None:
        """Run DEL with what ADD was told, or failing that with what would be told now."""
        async with self._turn(id):
            known = self._cache.get(id) or await self._guess(id, config)
            if known is not None:
                await self._release(known)
            else:
                self._let_go(id)

    async def readiness(self) -> Readiness:
        """Whether configuration and plugins are there, and the plugins say that they are ready (CNI 1.1)."""
        found = self._configs.read()
        ignored = "; ".join(found.problems)
        try:
            trouble = await self._plugins_say(await self._usable())
        except CriadaptError as error:
            return Readiness(ready=False, reason=_NOT_READY, message=str(error))
        if trouble:
            return Readiness(ready=False, reason=_NOT_READY, message=trouble)
        return Readiness(ready=True, message=f"ignored: {ignored}") if ignored else READY

    def set_pod_cidr(self, cidr: str) -> None:
        """Offer the node's ranges to plugins that ask for ``ipRanges``. Raises InvalidArgument."""
        self._pod_cidrs = podinfo.cidrs(cidr)

    # ------------------------------------------------------------------ more than the port

    async def check(self, id: str) -> None:
        """Ask the plugins whether a pod's network is as they made it. Raises NotFound for one that was not attached."""
        async with self._turn(id):
            known = self._cache.get(id)
            if known is None or not known.complete:
                raise NotFound(f"pod sandbox {id[:80]!r} is not on a CNI network")
            await chain.check(self._plugins, known, self._seconds)

    def attachment(self, id: str) -> Attachment | None:
        """What a pod was added with and what came of it, for the verbose status."""
        return self._cache.get(id)

    async def clean_up(self, living: Collection[str], *, gc: bool = False) -> list[str]:
        """After a restart: detach all that belongs to none of the `living` sandboxes; returns what failed.

        `gc` also sends the plugins GC (CNI 1.1) with the living ones: not where another runtime uses the same network,
        whose pods would lose their addresses.
        """
        failures: list[str] = []
        for id in self._cache.ids():
            if id not in living:
                try:
                    await self.detach(id, PodSandboxConfig())
                except CriadaptError as error:
                    failures.append(str(error))
        if self._pins is not None:
            kept = {*living, *self._cache.ids()}
            for id in netns.pinned(str(self._pins)):
                if id not in kept:
                    self._let_go(id)
        if gc:
            valid = [(id, self._ifname) for id in self._cache.ids()]
            try:
                usable = await self._usable()
                await chain.collect(self._plugins, usable.network, usable.version, valid, self._seconds)
            except CriadaptError as error:
                failures.append(str(error))
        return failures

    # ------------------------------------------------------------------ steps

    @asynccontextmanager
    async def _turn(self, id: str) -> AsyncIterator[None]:
        lock = self._locks.setdefault(id, asyncio.Lock())
        async with lock, self._slots:
            yield

    async def _usable(self) -> _Usable:
        """The network that pods are added to now. Raises Unavailable that says what to do."""
        found = self._configs.read()
        ignored = "".join(f"; ignored: {problem}" for problem in found.problems)
        if found.config is None:
            raise Unavailable(
                f"no usable CNI configuration in {self._configs.folder}: install a network provider, or let "
                f"`criadapt doctor --fix` write a bridge network{ignored}"
            )
        for name in found.config.executables:
            if self._plugins.find(name) is None:
                raise Unavailable(
                    f"CNI plugin {name!r} of network {found.config.name!r} ({found.config.path}) is in none of "
                    f"{self._plugins.where}: install it (Debian and Fedora: containernetworking-plugins){ignored}"
                )
        return _Usable(found.config, await chain.version_for(found.config, self._plugins))

    async def _plugins_say(self, usable: _Usable) -> str:
        async with self._asking:  # whoever comes meanwhile shares the answer
            now = time.monotonic()
            if self._status is None or self._status[0] != usable or now - self._status[1] > STATUS_SECONDS:
                answer = await chain.status(self._plugins, usable.network, usable.version, PROBE_SECONDS)
                self._status = (usable, time.monotonic(), answer)
            return self._status[2]

    def _new(self, id: str, config: PodSandboxConfig, usable: _Usable, namespace: str) -> Attachment:
        asked = frozenset[str]().union(*(plugin.capabilities for plugin in usable.network.plugins))
        everything = podinfo.capabilities(config, self._pod_cidrs)
        return Attachment(
            id=id,
            pod=podinfo.pod_name(config),
            ifname=self._ifname,
            netns=namespace,
            namespace=netns.identity(namespace) or 0,
            path=usable.network.path,
            network=usable.network.raw,
            version=usable.version,
            args=podinfo.arguments(id, config),
            capabilities={key: value for key, value in everything.items() if key in asked},
        )

    async def _guess(self, id: str, config: PodSandboxConfig) -> Attachment | None:
        """For a pod that nothing is known of: plugins keep their own books by container id and clean up by them."""
        try:
            return self._new(id, config, await self._usable(), "")
        except (Unavailable, InvalidArgument) as error:  # then nothing can have been attached either
            log.debug("nothing to detach", extra={"sandbox": id, "reason": str(error)})
            return None

    async def _release(self, known: Attachment) -> None:
        def alive() -> bool:
            return bool(known.netns) and netns.identity(known.netns) == known.namespace

        await chain.delete(self._plugins, known, alive, self._seconds)
        self._let_go(known.id)
        self._cache.drop(known.id)

    async def _take_back(self, attachment: Attachment) -> None:
        try:
            async with asyncio.timeout(CLEANUP_SECONDS):
                try:
                    await self._release(attachment)
                except EngineError as error:
                    # A plugin that was killed half way leaves what its own DEL stumbles over, but gets past next time
                    # (the bridge plugin at iptables chains that it had not come to make).
                    log.debug("DEL failed and is tried again", extra={"sandbox": attachment.id, "error": str(error)})
                    await self._release(attachment)
        except (CriadaptError, OSError) as error:  # OSError: TimeoutError is one
            reason = str(error) or type(error).__name__
            log.warning("a failed ADD is not taken back yet", extra={"sandbox": attachment.id, "error": reason})

    async def _hold(self, id: str) -> str:
        """Path of a pod's namespace that lasts until :meth:`_let_go`."""
        path = await self._netns_of(id)
        with _namespace_errors(id):
            if self._pins is None:
                if netns.identity(path) is None:
                    raise FileNotFoundError(2, "no network namespace there", path)
                return path
            held = str(self._pins / id)
            if netns.identity(held) is None or netns.identity(held) != netns.identity(path):
                netns.pin(path, held)
            return held

    def _let_go(self, id: str) -> None:
        if self._pins is not None:
            with _namespace_errors(id):
                netns.remove(str(self._pins / id))


@contextmanager
def _namespace_errors(id: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise EngineError(f"pod sandbox {id[:80]!r} has no network namespace: its infra process is gone") from error
    except PermissionError as error:
        raise PermissionDenied(
            f"network namespaces need rights that criadapt lacks, run it as root: {error}"
        ) from error
    except OSError as error:
        raise EngineError(f"the network namespace of pod sandbox {id[:80]!r} cannot be used: {error}") from error


async def _to_the_end(work: Coroutine[None, None, None]) -> None:
    """Do `work` whatever happens to the caller meanwhile; it has its own time limit."""
    task = asyncio.get_running_loop().create_task(work)
    cancelled = False
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            cancelled = True
    task.result()
    if cancelled:
        raise asyncio.CancelledError
