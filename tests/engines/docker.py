"""A private Docker Engine: its own containerd, data, bridge and cgroups; the host's firewall stays as it is."""

import errno
import ipaddress
import itertools
import json
import os
import platform
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import docker
import docker.errors

from . import busybox
from .daemon import SECONDS, Daemon, accepts, lives

IMAGE = "docker.io/library/busybox:latest"
PAUSE = "localhost/pause:1"
PROGRAMS = ("dockerd", "containerd", "containerd-shim-runc-v2", "runc", "docker-proxy", "ip")
NETWORKS = ("bridge", "host", "none")
CGROUPS = Path("/sys/fs/cgroup")
_numbers = itertools.count()


class Dockerd:
    """An engine of our own."""

    def __init__(self, folder: Path, bridge: str, settings: Mapping[str, Any]) -> None:
        self.folder = folder
        self.bridge = bridge
        self.socket = str(folder / "docker.sock")
        """Path of the socket of its API."""
        self.data = folder / "data"
        """Its data root."""
        config = folder / "daemon.json"
        config.write_text(json.dumps({**self._config(), **settings}))
        command = ["dockerd", "--config-file", str(config)]
        self._daemon = Daemon(command, folder / "log", lambda: accepts(Path(self.socket)) and self._answers())

    def start(self) -> None:
        """Start it; returns once it answers."""
        # Its containerd dies with a dockerd that is killed, and is taken for alive until somebody has reaped it.
        of_containerd = self.folder / "exec/containerd/containerd.pid"
        if of_containerd.exists() and not lives(int(of_containerd.read_text())):
            of_containerd.unlink()
        self._daemon.start()

    def stop(self, by: signal.Signals = signal.SIGTERM) -> None:
        """End it, and with SIGTERM the containers that run, unless it was told to let them live."""
        self._daemon.stop(by)

    @property
    def pid(self) -> int:
        """Its process."""
        return self._daemon.pid

    def log(self) -> str:
        """What it wrote so far."""
        return self._daemon.log()

    @contextmanager
    def api(self) -> Iterator[docker.APIClient]:
        """A client of it."""
        client = docker.APIClient(f"unix://{self.socket}", version="auto", timeout=SECONDS)
        try:
            yield client
        finally:
            client.close()

    def load(self, names: Iterable[str], config: Mapping[str, Any] = busybox.CONFIG) -> None:
        """Give it the busybox image, under these names."""
        program = busybox.find()
        assert program is not None, missing()
        archive = self.folder / "busybox.tar"
        busybox.write(archive, program, names, config)
        with self.api() as api, archive.open("rb") as file:
            api.load_image(file)

    def remains(self) -> list[str]:
        """What tests have left in it; it is removed."""
        with self.api() as api:
            containers = api.containers(all=True)
            for row in containers:
                api.remove_container(row["Id"], force=True, v=True)
            volumes = api.volumes()["Volumes"] or []
            for row in volumes:
                api.remove_volume(row["Name"])
            networks = [row for row in api.networks() if row["Name"] not in NETWORKS]
            for row in networks:
                api.remove_network(row["Id"])
        return [
            *(f"container {row['Names']} ({row['Status']}, labels {row['Labels']})" for row in containers),
            *(f"volume {row['Name']}" for row in volumes),
            *(f"network {row['Name']}" for row in networks),
        ]

    def _config(self) -> dict[str, Any]:
        return {
            "hosts": [f"unix://{self.socket}"],
            "data-root": str(self.data),
            "exec-root": f"{self.folder}/exec",
            "pidfile": f"{self.folder}/pid",
            "bridge": self.bridge,
            "cgroup-parent": f"/{self.bridge}",  # a cgroup of its own, which can be removed in the end
            "iptables": False,  # ports of the host are served by docker-proxy
            "ip-forward": False,
            "ip-masq": False,
        }

    def _answers(self) -> bool:
        try:
            with self.api() as api:
                return bool(api.ping())
        except docker.errors.DockerException:
            return False


def missing() -> str:
    """What this machine lacks for it; empty if nothing."""
    if os.geteuid() != 0:
        return "it takes root"
    programs = [name for name in PROGRAMS if shutil.which(name) is None]
    if programs:
        return f"no {', '.join(programs)}"
    if busybox.find() is None or platform.machine() != "x86_64":
        return "no static busybox for x86_64"
    return ""


@contextmanager
def running(**settings: Any) -> Iterator[Dockerd]:
    """Start one; `settings` go into its daemon.json, with ``_`` for ``-``. It has :data:`IMAGE` and :data:`PAUSE`.

    At the end it is an error if anything is left: containers, volumes and networks by those who made them, processes,
    mounts, and interfaces by the engine. All of it is removed nevertheless.
    """
    with tempfile.TemporaryDirectory(prefix="criadapt-dockerd-") as name:
        bridge = f"cri{os.getpid() % 10**7}-{next(_numbers)}"
        left: list[str] = []
        engine = Dockerd(Path(name), bridge, {key.replace("_", "-"): value for key, value in settings.items()})
        _add_bridge(bridge)
        try:
            engine.start()
            engine.load((IMAGE, PAUSE))
            yield engine
            left += engine.remains()
        finally:
            engine.stop()
            left += [*_processes(name, bridge), *_mounts(name), *_interfaces(bridge), *_cgroups(bridge)]
            assert not left, f"left behind: {'; '.join(left)}"


def _add_bridge(bridge: str) -> None:
    """A bridge with a private subnet that overlaps with none of this machine's."""
    routes = json.loads(_ip("-j", "route", "show", "table", "all"))
    taken = [
        ipaddress.ip_network(route["dst"], strict=False)
        for route in routes
        if route["dst"] != "default" and ":" not in route["dst"]
    ]
    begin = os.getpid() % 200
    for third in (*range(begin, 256), *range(begin)):
        subnet = ipaddress.ip_network(f"10.213.{third}.0/24")
        if not any(subnet.overlaps(other) for other in taken if other.version == 4):
            _ip("link", "add", bridge, "type", "bridge")
            _ip("address", "add", f"{subnet[1]}/24", "dev", bridge)
            _ip("link", "set", bridge, "up")
            return
    raise AssertionError("no free subnet in 10.213.0.0/16")


def _ip(*args: str) -> str:
    return subprocess.run(["ip", *args], check=True, capture_output=True, text=True).stdout


def _processes(folder: str, cgroups: str) -> list[str]:
    """Processes that were started with a path in `folder`, or are in a container; they are killed."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with suppress(OSError):
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if folder in command or f":/{cgroups}/" in (entry / "cgroup").read_text():
                    found.append(f"process {command}")
                    os.kill(int(entry.name), signal.SIGKILL)
    return found


def _mounts(folder: str) -> list[str]:
    """Mounts in `folder`; they are unmounted. That of the data root is no error: a killed dockerd forgets it."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    found = [line.split()[4] for line in lines if line.split()[4].startswith(folder)]
    for point in reversed(found):
        subprocess.run(["umount", "--lazy", point], check=True)
    return [f"mount {point}" for point in found if point != f"{folder}/data"]


def _interfaces(bridge: str) -> list[str]:
    """Interfaces on the bridge; they are removed, and so is the bridge."""
    found = [entry.name for entry in Path(f"/sys/class/net/{bridge}/brif").iterdir()]
    for name in (*found, bridge):
        _ip("link", "delete", name)
    return [f"interface {name}" for name in found]


def _cgroups(name: str) -> list[str]:
    """Cgroups of containers; they are removed, and so is the engine's own one above them."""
    found = []
    for top in (CGROUPS / name, *CGROUPS.glob(f"*/{name}")):
        paths = sorted((path for path in (top, *top.rglob("*")) if path.is_dir()), reverse=True)
        found += [f"cgroup {path}" for path in paths if path != top]
        for path in paths:
            _remove_cgroup(path)
    return found


def _remove_cgroup(path: Path) -> None:
    end = time.monotonic() + SECONDS
    while True:
        try:
            return path.rmdir()
        except OSError as error:  # a process that was killed takes a moment to leave
            if error.errno != errno.EBUSY or time.monotonic() > end:
                raise
            time.sleep(0.02)
