"""Fake plugins without root; namespaces and Debian's plugins with it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from criadapt.host import netns
from criadapt.model.sandbox import PodSandboxConfig, PodSandboxMetadata
from criadapt.network.cni import CNINetwork

from .fakes import Fakes, result

ID = "c0ffee" * 10
POD = PodSandboxConfig(metadata=PodSandboxMetadata(name="web", namespace="shop", uid="u-1"))


def can_make_namespaces(folder: Path) -> str:
    """Why not, empty if it can be done."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    try:
        asyncio.run(netns.make(str(folder / "try")))
    except OSError as error:
        return f"network namespaces cannot be made here: {error}"
    netns.remove(str(folder / "try"))
    return ""


@pytest.fixture(scope="session")
def namespaces(tmp_path_factory: pytest.TempPathFactory) -> None:
    """For tests that make namespaces."""
    if why := can_make_namespaces(tmp_path_factory.mktemp("netns")):
        pytest.skip(why)


@pytest.fixture
async def make(namespaces: None, tmp_path: Path) -> AsyncIterator[Callable[[str], object]]:
    """Makes a namespace and returns its path; all are gone afterwards."""
    folder = tmp_path / "pods"

    async def make(name: str) -> str:
        await netns.make(str(folder / name))
        return str(folder / name)

    yield make
    for name in netns.pinned(str(folder)):
        netns.remove(str(folder / name))


class World:
    """A CNI network over fake plugins. Its pods' namespaces are links to this process's own: nothing enters them."""

    def __init__(self, base: Path) -> None:
        self.fakes = Fakes(base / "cni")
        self.state = base / "state"
        self.namespace = base / "namespace"
        self.namespace.symlink_to("/proc/self/ns/net")
        self.network = self.open()

    def open(self, **options: object) -> CNINetwork:
        """Another one over the same state, as after a restart."""

        async def netns_of(id: str) -> str:
            return str(self.namespace)

        return CNINetwork(
            netns_of=netns_of,
            state_dir=self.state,
            pin=False,
            config_dir=self.fakes.configs,
            plugin_dirs=[self.fakes.base / "none", self.fakes.bin],
            **options,  # type: ignore[arg-type]
        )

    def chain(self, *names: str, version: str = "1.0.0", **more: object) -> None:
        """Install plugins and configure a network of them; the first hands out an address."""
        for name in names:
            self.fakes.install(name, result("10.0.0.5/24", version=version, by=name))
        plugins = [{"type": name} for name in names]
        self.fakes.configure({"cniVersion": version, "name": "podnet", "plugins": plugins, **more})

    def cached(self) -> list[str]:
        """Pods that something is known of."""
        folder = self.state / "cni"
        return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """Fake plugins, and nothing that needs rights."""

    async def loopback_up(path: str) -> None:
        pass

    monkeypatch.setattr(netns, "loopback_up", loopback_up)
    return World(tmp_path)
