"""What Docker Engine makes of the requests: what was asked for is in force inside the container.

Needs an engine of its own: ``CRIADAPT_DOCKER_SOCKET=/path/docker.sock``.
"""

import io
import itertools
import json
import os
import pty
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import docker
import pytest

from criadapt.backends.base import ContainerSpec
from criadapt.backends.docker.describe import facts_of
from criadapt.backends.docker.facts import EngineFacts
from criadapt.backends.docker.options import DockerOptions
from criadapt.backends.docker.spec import create_body, notes, resources_update
from criadapt.metering.cgroup import Hierarchies
from criadapt.model.capabilities import NAMES
from criadapt.model.container import KeyValue, Mount
from criadapt.model.linux import (
    Capability,
    Device,
    LinuxContainerResources,
    LinuxContainerUser,
    NamespaceMode,
    NamespaceOption,
    ProfileType,
    SecurityProfile,
)
from criadapt.model.sandbox import PortMapping, Protocol
from criadapt.model.signals import Signal

from ...engines import busybox

SOCKET = os.environ.get("CRIADAPT_DOCKER_SOCKET", "")
IMAGE = "criadapt.test/spec:1"
LABEL = {"criadapt.test": "spec"}
MiB = 1 << 20
PARENT = "/criadapt-spec.slice"
OWN_PIDS = NamespaceOption(pid=NamespaceMode.CONTAINER)

pytestmark = [
    pytest.mark.skipif(not SOCKET, reason="CRIADAPT_DOCKER_SOCKET names no engine"),
    pytest.mark.skipif(busybox.find() is None, reason="no static busybox to make an image of"),
]


class Lab:
    """An engine, and the containers made in it."""

    def __init__(self, api: docker.APIClient, facts: EngineFacts, image_id: str) -> None:
        self.api, self.facts, self.image_id = api, facts, image_id
        self.made: list[str] = []
        self._numbers = itertools.count()

    def spec(self, *args: str, **changes: Any) -> ContainerSpec:
        """A container that runs `args`."""
        name = f"spec-test-{os.getpid()}-{next(self._numbers)}"
        found = ContainerSpec(name=name, image_id=self.image_id, args=args, labels=LABEL, namespaces=OWN_PIDS)
        return replace(found, **changes)

    def create(self, spec: ContainerSpec) -> str:
        """Make it."""
        id: str = self.api.create_container_from_config(create_body(spec, self.facts), spec.name)["Id"]
        self.made.append(id)
        return id

    def start(self, *args: str, **changes: Any) -> str:
        """Make and start it."""
        id = self.create(self.spec(*args, **changes))
        self.api.start(id)
        return id

    def sh(self, script: str, **changes: Any) -> str:
        """What a script says in a container of its own."""
        return self.output(self.create(self.spec("sh", "-c", script, **changes)))

    def output(self, id: str) -> str:
        """Start a container and read what it says until it ends."""
        self.api.start(id)
        self.api.wait(id, timeout=30)
        text: str = self.api.logs(id).decode()
        return text.strip()

    def host(self, id: str) -> dict[str, Any]:
        """What the engine says it was asked for."""
        found: dict[str, Any] = self.api.inspect_container(id)["HostConfig"]
        return found


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    api = docker.APIClient(base_url=f"unix://{SOCKET}", version="auto", timeout=60)
    program = busybox.find()
    assert program is not None
    archive = tmp_path_factory.mktemp("image") / "image.tar"
    busybox.write(archive, program, [IMAGE])
    with archive.open("rb") as file:
        for _ in api.load_image(file):
            pass
    facts = facts_of(api.info(), api.api_version, DockerOptions(), SOCKET.removeprefix("unix://"))
    yield Lab(api, facts, api.inspect_image(IMAGE)["Id"])
    api.remove_image(IMAGE, force=True)
    api.close()


@pytest.fixture
def lab(engine: Lab) -> Iterator[Lab]:
    yield engine
    for id in reversed(engine.made):
        engine.api.remove_container(id, force=True, v=True)
    engine.made.clear()
    # The engine makes the parent cgroup, and leaves it: one per hierarchy, or one in all.
    for folder in (*Path("/sys/fs/cgroup").glob(f"*{PARENT}"), Path(f"/sys/fs/cgroup{PARENT}")):
        with suppress(FileNotFoundError):
            folder.rmdir()


def status(text: str) -> dict[str, str]:
    """Lines of /proc/self/status."""
    return {key: value.strip() for key, _, value in (line.partition(":") for line in text.splitlines())}


def mask(names: set[str]) -> str:
    return f"{sum(1 << NAMES.index(name) for name in names):016x}"


# ---------------------------------------------------------------------------------------------- process


def test_environment_and_arguments_are_those_asked_for(lab: Lab) -> None:
    env = (KeyValue(key="PATH", value=b"/bin"), KeyValue(key="A", value=b"1=2 \xc3\xa9"))
    found = lab.output(lab.create(lab.spec("busybox", "env", env=env)))
    assert {line for line in found.splitlines() if not line.startswith("HOME=")} == {"PATH=/bin", "A=1=2 é"}
    assert lab.sh("pwd", cwd="/not/there") == "/not/there"


def test_a_user_has_its_groups_and_none_of_the_images(lab: Lab) -> None:
    user = LinuxContainerUser(uid=1000, gid=1001, supplemental_groups=(1001, 1234, 50000))
    id = lab.create(lab.spec("cat", "/proc/self/status", user=user))
    files = io.BytesIO()
    with tarfile.open(fileobj=files, mode="w") as archive:
        for name, text in (("passwd", b"me:x:1000:1000::/:/bin/sh\n"), ("group", b"more:x:7777:me\n")):
            info = tarfile.TarInfo(name)
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text))
    assert lab.api.put_archive(id, "/etc", files.getvalue())
    found = status(lab.output(id))
    assert found["Uid"].split() == ["1000"] * 4
    assert found["Gid"].split() == ["1001"] * 4
    assert set(found["Groups"].split()) == {"1001", "1234", "50000"}


def test_the_engine_knows_every_stop_signal(lab: Lab) -> None:
    for signal in Signal:
        lab.create(lab.spec("true", stop_signal=signal))


# ---------------------------------------------------------------------------------------------- confinement


def test_capabilities(lab: Lab) -> None:
    only = Capability(add_capabilities=("NET_RAW", "CHOWN"), drop_capabilities=("ALL", "CHOWN"))
    assert status(lab.sh("cat /proc/self/status", capabilities=only))["CapBnd"] == mask({"NET_RAW"})
    everything = Capability(add_capabilities=("ALL",), drop_capabilities=("CHOWN",))
    bits = int(status(lab.sh("cat /proc/self/status", capabilities=everything))["CapBnd"], 16)
    assert bits & 1 << NAMES.index("SYS_ADMIN")
    assert not bits & 1 << NAMES.index("CHOWN")


def test_new_privileges(lab: Lab) -> None:
    for flag in (False, True):
        found = status(lab.sh("cat /proc/self/status", no_new_privs=flag))
        assert found["NoNewPrivs"] == str(int(flag))


def test_seccomp(lab: Lab, tmp_path: Path) -> None:
    assert status(lab.sh("cat /proc/self/status"))["Seccomp"] == "0"
    assert status(lab.sh("cat /proc/self/status", seccomp=SecurityProfile()))["Seccomp"] == "2"
    rules = [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]
    (tmp_path / "profile.json").write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}))
    profile = SecurityProfile(profile_type=ProfileType.LOCALHOST, localhost_ref=str(tmp_path / "profile.json"))
    assert "not permitted" in lab.sh("busybox mkdir /tmp/x", seccomp=profile)


def test_paths_are_masked_and_read_only_as_listed_and_not_otherwise(lab: Lab) -> None:
    look = "cat /etc/passwd; echo x > /www/x; busybox mount"
    found = lab.sh(look, masked_paths=("/etc/passwd", "/absent"), readonly_paths=("/www",))
    assert "root:" not in found
    assert "/www/x: Read-only file system" in found
    found = lab.sh(look)
    assert "root:" in found
    assert "Read-only" not in found
    assert " on /proc/" not in found  # nothing that the engine would have masked by itself


def test_a_read_only_root(lab: Lab) -> None:
    assert "Read-only file system" in lab.sh("echo x > /x", readonly_rootfs=True)


def test_privileged(lab: Lab) -> None:
    leader, follower = pty.openpty()  # the host's terminals are devices, too, and none of a container's
    try:
        spec = lab.spec("sh", "-c", "cat /proc/self/status; busybox ls /dev /dev/pts; busybox mount", privileged=True)
        found = lab.output(lab.create(spec))
    finally:
        os.close(leader)
        os.close(follower)
    bits = int(status(found)["CapEff"], 16)
    held = lab.facts.capabilities or frozenset(NAMES)
    for name in ("SYS_ADMIN", "NET_ADMIN", "SYS_RESOURCE"):
        assert bool(bits & 1 << NAMES.index(name)) is (name in held)
    assert status(found)["Seccomp"] == "0"
    assert "kmsg" in found.split()
    assert " on /proc/" not in found
    assert not notes(spec, lab.facts) or lab.facts.capabilities is not None


def test_a_folder_of_devices(lab: Lab) -> None:
    device = Device(host_path="/dev/net", container_path="/dev/mine", permissions="rw")
    assert lab.sh("busybox ls /dev/mine", devices=(device,)) == "tun"


# ---------------------------------------------------------------------------------------------- pods, mounts, limits


def test_containers_of_a_pod_share_what_they_shall(lab: Lab) -> None:
    sysctls = {"net.core.somaxconn": "777", "kernel.msgmax": "9000"}
    pod = lab.start(
        "sleep", "1000", hostname="web.example", sysctls=sysctls, readonly_rootfs=True, namespaces=NamespaceOption()
    )
    shared = {"infra": pod, "hostname": "web.example", "sysctls": sysctls, "namespaces": NamespaceOption()}
    look = (
        "busybox hostname; cat /proc/sys/net/core/somaxconn /proc/sys/kernel/msgmax; "
        "busybox df /dev/shm; cat /proc/1/cmdline"
    )
    found = lab.sh(look, **shared).splitlines()
    assert found[:3] == ["web.example", "777", "9000"]
    assert "65536" in found[4]
    assert found[5].replace("\0", " ").strip() == "sleep 1000"
    alone = lab.sh("cat /proc/1/cmdline", **{**shared, "namespaces": OWN_PIDS})
    assert "sleep" not in alone


def test_a_pod_on_the_hosts_network_has_the_hosts_names(lab: Lab) -> None:
    on_host = replace(OWN_PIDS, network=NamespaceMode.NODE)
    pod = lab.start("sleep", "1000", namespaces=on_host, hostname=os.uname().nodename)
    for infra in (None, pod):
        found = lab.sh(
            "busybox readlink /proc/self/ns/net; busybox readlink /proc/self/ns/uts", infra=infra, namespaces=on_host
        )
        assert found.split() == [os.readlink(f"/proc/self/ns/{kind}") for kind in ("net", "uts")]


def test_a_pod_whose_network_somebody_else_makes_has_loopback_only(lab: Lab) -> None:
    assert lab.sh("cat /proc/net/dev", connected=False).splitlines()[2:][0].strip().startswith("lo:")


def test_ports_are_published(lab: Lab) -> None:
    mappings = (
        PortMapping(container_port=80, host_port=38080, host_ip="127.0.0.1"),
        PortMapping(container_port=53, host_port=38053, host_ip="127.0.0.1", protocol=Protocol.UDP),
        PortMapping(container_port=9),
    )
    pod = lab.start("sleep", "1000", port_mappings=mappings)
    assert lab.api.inspect_container(pod)["NetworkSettings"]["Ports"] == {
        "80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "38080"}],
        "53/udp": [{"HostIp": "127.0.0.1", "HostPort": "38053"}],
    }


def test_mounts(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("from the host\n")
    binds = (
        Mount(host_path=str(tmp_path), container_path="/data", readonly=True, selinux_relabel=True),
        Mount(host_path=str(tmp_path / "file"), container_path="/etc/hosts"),
        Mount(host_path="/", container_path="/host", readonly=True),  # around the engine's own directory
    )
    found = lab.sh("cat /data/file /etc/hosts; echo x > /data/x; busybox ls /host/proc > /dev/null", mounts=binds)
    assert found.count("from the host") == 2
    assert "/data/x: Read-only file system" in found


def limits_of(lab: Lab, id: str) -> list[str]:
    """Memory, memory with swap (v2: swap), and shares of CPU (v2: weight), as the kernel has them."""
    group = Hierarchies().of_process(lab.api.inspect_container(id)["State"]["Pid"], id)
    assert group is not None
    names = (
        ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "cpu.shares")
        if "memory" in group.v1
        else ("memory.max", "memory.swap.max", "cpu.weight")
    )
    return [(Path(group.directory(name.split(".")[0])) / name).read_text().strip() for name in names]


def test_limits_and_their_changes(lab: Lab) -> None:
    asked = LinuxContainerResources(
        memory_limit_in_bytes=64 * MiB, cpu_shares=512, cpu_quota=50000, cpu_period=100000, oom_score_adj=-998
    )
    id = lab.start("sleep", "1000", resources=asked, cgroup_parent=PARENT)
    old = lab.facts.cgroup_version == 1
    limits = limits_of(lab, id)
    assert limits[:2] == ([str(64 * MiB)] * 2 if old else [str(64 * MiB), "0"])
    pid = lab.api.inspect_container(id)["State"]["Pid"]
    assert int(Path(f"/proc/{pid}/oom_score_adj").read_text()) == max(-998, lab.facts.oom_floor)
    assert PARENT in Path(f"/proc/{pid}/cgroup").read_text()
    change(lab, id, LinuxContainerResources(memory_limit_in_bytes=128 * MiB))
    assert limits_of(lab, id) == [str(128 * MiB) if old or n == 0 else "0" for n in range(2)] + [limits[2]]
    change(lab, id, LinuxContainerResources(memory_limit_in_bytes=128 * MiB, memory_swap_limit_in_bytes=-1))
    assert limits_of(lab, id)[1] == "max" or int(limits_of(lab, id)[1]) > 1 << 60


def change(lab: Lab, id: str, resources: LinuxContainerResources) -> None:
    answer = lab.api._post_json(lab.api._url("/containers/{0}/update", id), data=resources_update(resources, lab.facts))
    lab.api._raise_for_status(answer)


def test_nothing_restarts_checks_or_vanishes_by_itself(lab: Lab) -> None:
    id = lab.create(lab.spec("true"))
    host = lab.host(id)
    assert host["RestartPolicy"]["Name"] == "no"
    assert (host["AutoRemove"], host["Init"]) == (False, False)
    assert lab.api.inspect_container(id)["Config"]["Healthcheck"] == {"Test": ["NONE"]}
