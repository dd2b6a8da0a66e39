"""What a container may see and do: files, mounts, identity, capabilities, processes, servers of its pod."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from criadapt.model.container import Mount
from criadapt.model.image import ImageSpec
from criadapt.model.linux import (
    Capability,
    LinuxContainerUser,
    NamespaceMode,
    NamespaceOption,
    SecurityProfile,
)

SECOND = 10**9
POD_PIDS = NamespaceOption(pid=NamespaceMode.POD)


async def test_read_only_root(world: Any) -> None:
    result = await world.sh("touch test.go", readonly_rootfs=True)
    assert (result.code, result.stderr) == (1, b"touch: test.go: Read-only file system\n")


async def test_masked_path(world: Any) -> None:
    machine = world.start("pause", masked_paths=("/bin/ls", "/proc"))
    result = await world.exec(machine, "/bin/sh", "-c", "ls")
    assert (result.code, result.stderr) == (126, b"/bin/sh: ls: Permission denied\n")


async def test_read_only_path(world: Any) -> None:
    result = await world.sh("touch /tmp/foo", readonly_paths=("/tmp",))
    assert result.stderr == b"touch: /tmp/foo: Read-only file system\n"


async def test_volume(world: Any, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real/file").write_text("from the host\n")
    (tmp_path / "real/out").symlink_to("../../../../../../etc/hostname")
    (tmp_path / "link").symlink_to("real")
    mounts = (
        Mount(container_path="/v", host_path=str(tmp_path / "link")),
        Mount(container_path="/ro", host_path=str(tmp_path / "real"), readonly=True),
    )
    script = "ls -A /v; cat /v/file; echo new > /v/new; touch /ro/x; cat /v/out; ls / | grep -c '^v$'"
    result = await world.sh(script, mounts=mounts)
    assert result.stdout == b"file\nout\nfrom the host\n1\n"
    assert b"touch: /ro/x: Read-only file system" in result.stderr
    assert b"can't open '/v/out'" in result.stderr, "a link must not lead out of the container"
    assert (tmp_path / "real/new").read_text() == "new\n"


async def test_image_volume(world: Any) -> None:
    image = ImageSpec(image="sha256:1")
    mounts = (
        Mount(container_path="/image", image=image, readonly=True),
        Mount(container_path="/etc2", image=image, image_sub_path="etc", readonly=True),
    )
    script = "ls /image/bin/sh /etc2; /image/bin/ls /image/etc; touch /image/x"
    result = await world.sh(script, mounts=mounts, image_files=lambda id: {"/etc/passwd": id.encode()})
    assert result.stdout == b"/image/bin/sh\n\n/etc2:\npasswd\npasswd\n"
    assert result.stderr == b"touch: /image/x: Read-only file system\n"


async def test_identity(world: Any) -> None:
    user = LinuxContainerUser(uid=1001, gid=1002, supplemental_groups=(1234, 5678))
    result = await world.sh("id -u; id -g; id -G; touch /etc/x; touch /tmp/y", user=user)
    assert result.stdout == b"1001\n1002\n1002 1234 5678\n"
    assert result.stderr == b"touch: /etc/x: Permission denied\n"


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ({}, "00000000a80425fb 0 0"),
        ({"seccomp": SecurityProfile(), "no_new_privs": True}, "00000000a80425fb 1 2"),
        ({"capabilities": Capability(drop_capabilities=("ALL",))}, "0000000000000000 0 0"),
        ({"seccomp": SecurityProfile(), "privileged": True}, "000001ffffffffff 0 0"),
    ],
)
async def test_status(world: Any, settings: dict[str, Any], wanted: str) -> None:
    result = await world.sh("grep -E '^(CapBnd|NoNewPrivs|Seccomp)' /proc/self/status", **settings)
    assert [line.split()[1] for line in result.stdout.decode().splitlines()] == wanted.split()


async def test_pids_of_a_pod(world: Any) -> None:
    members: list[Any] = []
    pods = {"namespaces": POD_PIDS, "peers": lambda: members}
    members.append(world.start("/pause", pid=100, **pods))
    members.append(world.start("nginx", pid=101, infra="x", **pods))
    members.append(world.start("top", pid=102, infra="x", **pods))
    members.append(world.start("/pause", pid=103, infra="x", peers=lambda: members))
    result = await world.exec(members[2], "sh", "-c", "pidof nginx; tr '\\0' ' ' < /proc/1/cmdline; ps -o pid,args")
    assert result.stdout.startswith(b"101\n/pause ")
    assert b"101 nginx: master process nginx\n" in result.stdout
    assert (await world.exec(members[3], "pidof", "nginx")).code == 1


async def test_servers_of_the_pod_can_be_reached(world: Any) -> None:
    members: list[Any] = []
    members.append(world.start("nginx", ips=("10.0.0.5",), peers=lambda: members))
    members.append(world.start("pause", ips=("10.0.0.5",), peers=lambda: members))
    result = await world.exec(
        members[1], "sh", "-c", "wget -q -O - http://10.0.0.5/ | grep title; curl -s localhost:81"
    )
    assert result.stdout == b"<title>Welcome to nginx!</title>\n"
    assert result.code == 7
    assert members[0].serve(80) is not None
    assert members[1].serve(80) is None
