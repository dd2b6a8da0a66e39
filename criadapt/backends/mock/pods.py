"""What containers of a pod share: addresses, host name, and the sight of each other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping

from criadapt.backends.base import Chunk
from criadapt.backends.mock.addresses import Addresses, HostPorts
from criadapt.backends.mock.clock import SYSTEM_WALL, Timer, Wall
from criadapt.backends.mock.containers import Container
from criadapt.backends.mock.doors import LOOPBACK, Address, Doors, Entrance
from criadapt.backends.mock.images import Images
from criadapt.backends.mock.machine import Exit, Machine
from criadapt.backends.mock.options import MockOptions
from criadapt.errors import StartFailed
from criadapt.model.linux import NamespaceMode
from criadapt.model.sandbox import Protocol


def _ignore(_: Exit) -> None:
    """Nobody cares how a replay ends."""


async def _next(output: AsyncIterator[Chunk], machine: Machine) -> Chunk | None:
    """Next chunk of a machine whose wall clock stands still, None when there will be none."""
    chunk = asyncio.ensure_future(anext(output, None))
    settled = asyncio.ensure_future(machine.settled())
    try:
        await asyncio.wait((chunk, settled), return_when=asyncio.FIRST_COMPLETED)
        for _ in range(10):  # a program that waited for us to read needs a few turns to write on
            if chunk.done():
                return chunk.result()
            await asyncio.sleep(0)
        return None
    finally:
        chunk.cancel()
        settled.cancel()
        await asyncio.wait((chunk, settled))


class StoppedWall:
    """A wall clock that stands still: what is due runs at once, and what is not never does."""

    def __init__(self, time_ns: int) -> None:
        self._time_ns = time_ns

    def now(self) -> int:
        """Always the same."""
        return self._time_ns

    def call_at(self, time_ns: int, callback: Callable[[], None]) -> Timer:
        """Call back soon, or never."""
        if time_ns <= self._time_ns:
            return asyncio.get_running_loop().call_soon(callback)
        return _NEVER


class _Never:
    def cancel(self) -> None:
        """Nothing was going to happen anyway."""


_NEVER = _Never()


class _OnExit:
    """What a machine calls when it ends. A third the size of a partial, which counts when there are thousands."""

    __slots__ = ("_exited", "_id")

    def __init__(self, exited: Callable[[str, Exit], None], id: str) -> None:
        self._exited = exited
        self._id = id

    def __call__(self, exit: Exit) -> None:
        self._exited(self._id, exit)


class _Peers:
    """How a machine sees the others of its pod."""

    __slots__ = ("_container", "_peers")

    def __init__(self, peers: Callable[[Container], Iterable[Machine]], container: Container) -> None:
        self._peers = peers
        self._container = container

    def __call__(self) -> Iterable[Machine]:
        return self._peers(self._container)


class Pods:
    """All containers, by the infra container whose namespaces they share; builds their machines."""

    def __init__(
        self,
        containers: Mapping[str, Container],
        options: MockOptions,
        images: Images,
        exited: Callable[[str, Exit], None],
    ) -> None:
        self._containers = containers
        self._options = options
        self._images = images
        self._exited = exited
        self._addresses = Addresses((options.network, options.subnet_v6))
        self._doors = Doors(self._where, self._pod_name) if options.reachable else None
        self._entrances: dict[str, Entrance] = {}
        self._host_ports = HostPorts()
        self._members: dict[str, tuple[str, ...]] = {}
        self._see = self._peers  # bound once, not for every machine

    def add(self, container: Container) -> None:
        """A container is there; one that runs already keeps its addresses."""
        if container.spec.infra is not None:
            self._members[container.spec.infra] = (*self._members.get(container.spec.infra, ()), container.id)
        if container.running:
            self._addresses.claim(container.life.ips)
            self._host_ports.claim(container.spec.name, self._published(container))

    def remove(self, container: Container) -> None:
        """A container is gone."""
        infra = container.spec.infra
        if infra is not None:
            left = tuple(id for id in self._members.get(infra, ()) if id != container.id)
            if left:
                self._members[infra] = left
            else:
                self._members.pop(infra, None)

    def take(self, container: Container) -> tuple[str, ...]:
        """Addresses for the network namespace that the container brings with it, if any; its host ports are its own.

        Raises StartFailed.
        """
        spec = container.spec
        if spec.infra is None:
            if spec.namespaces.network is NamespaceMode.NODE:
                return ()
            ips = self._addresses.take()
            try:
                self._host_ports.take(spec.name, self._published(container))
            except StartFailed:
                self._addresses.give_back(ips)
                raise
            return ips
        infra = self._containers.get(spec.infra)
        if infra is None or not infra.running:
            raise StartFailed(f"cannot join the namespaces of container {spec.infra!r}: it is not running")
        return ()

    def release(self, container: Container) -> None:
        """It listens no more. If it brought a network namespace, that is gone, and nobody in the pod does."""
        if self._doors is not None:
            for id in (container.id, *self._members.get(container.id, ())):
                if (entrance := self._entrances.pop(id, None)) is not None:
                    entrance.close()
            self._host_ports.give_back(container.spec.name, self._published(container))
        self._addresses.give_back(container.life.ips)

    async def close(self) -> None:
        """Nobody listens for real any more."""
        if self._doors is not None:
            for entrance in self._entrances.values():
                entrance.close()
            await self._doors.close()

    def _published(self, container: Container) -> dict[Address, int]:
        """Ports of the pod by where on the host they are published. Nothing where only the mock itself would know."""
        if self._doors is None or container.spec.namespaces.network is NamespaceMode.NODE:
            return {}
        return {
            (mapping.host_ip or LOOPBACK, mapping.host_port): mapping.container_port
            for mapping in container.spec.port_mappings
            if mapping.host_port and mapping.protocol is Protocol.TCP
        }

    def _where(self, id: str, port: int) -> Iterator[Address]:
        """Where clients outside reach a port that somebody in the container listens on. Loopback has one IPv6 only."""
        container = self._containers[id]
        infra = self._infra(container)
        if container.spec.namespaces.network is NamespaceMode.NODE:
            yield LOOPBACK, port
        elif infra is not None and infra.running:
            yield from ((ip, port) for ip in infra.life.ips if ":" not in ip)
            yield from (address for address, inside in self._published(infra).items() if inside == port)

    def _pod_name(self, id: str) -> str:
        return (self._infra(self._containers[id]) or self._containers[id]).spec.name

    def _infra(self, container: Container) -> Container | None:
        return container if container.spec.infra is None else self._containers.get(container.spec.infra)

    def ips(self, container: Container) -> tuple[str, ...]:
        """Addresses of the network namespace that the container lives in, while it runs."""
        spec = container.spec
        if not container.running or spec.namespaces.network is NamespaceMode.NODE:
            return ()
        owner = self._infra(container)
        return owner.life.ips if owner is not None and owner.running else ()

    def machine(self, container: Container, *, alive_until: int = 0) -> Machine:
        """A machine for a container that runs; `alive_until` is when an earlier process let go of it."""
        pauses = container.life.pauses
        if container.life.paused_at:
            pauses = (*pauses, (container.life.paused_at, SYSTEM_WALL.now()))
        if self._doors is not None:
            self._entrances[container.id] = Entrance(self._doors, container.id)
        return self._machine(
            container,
            entrance=self._entrances.get(container.id),
            on_exit=_OnExit(self._exited, container.id),
            peers=_Peers(self._see, container),
            pauses=pauses,
            replay_until=alive_until,
        )

    async def replay(self, container: Container, since_ns: int) -> AsyncIterator[Chunk]:
        """Output of a container that has ended and whose machine is gone, by running it again up to its end."""
        life = container.life
        machine = self._machine(
            container, pauses=life.pauses, replay_until=life.finished_at, wall=StoppedWall(life.finished_at)
        )
        output = machine.output(since_ns)
        try:
            machine.start()
            while (chunk := await _next(output, machine)) is not None:
                yield chunk
        finally:
            machine.close()

    def _machine(
        self,
        container: Container,
        *,
        pauses: tuple[tuple[int, int], ...],
        replay_until: int,
        on_exit: Callable[[Exit], None] = _ignore,
        peers: Callable[[], Iterable[Machine]] = tuple,
        entrance: Entrance | None = None,
        wall: Wall = SYSTEM_WALL,
    ) -> Machine:
        return Machine(
            container.spec,
            id=container.id,
            started_at=container.machine_started_at,
            hostname=self._hostname(container),
            files=self._images.files(container.spec.image_id),
            image_files=self._images.files,
            entrance=entrance,
            ips=self.ips(container),
            pid=container.life.pid,
            seed=self._options.seed,
            unknown_command=self._options.unknown_command,
            on_exit=on_exit,
            peers=peers,
            pauses=pauses,
            replay_until=replay_until,
            wall=wall,
        )

    def _hostname(self, container: Container) -> str:
        infra = self._containers.get(container.spec.infra or "")
        return container.spec.hostname or (infra or container).spec.hostname or (infra or container).id[:12]

    def _peers(self, container: Container) -> Iterator[Machine]:
        """Machines of the same pod, or of all pods for a container in the node's pid namespace."""
        if container.spec.namespaces.pid is NamespaceMode.NODE:
            ids: Iterable[str] = tuple(self._containers)
        else:
            infra = container.spec.infra or container.id
            ids = (infra, *self._members.get(infra, ()))
        for id in ids:
            peer = self._containers.get(id)
            if peer is not None and peer.running and peer.machine is not None:
                yield peer.machine
