"""Host paths: resolved, made where they are missing, refused with the mount's name."""

from __future__ import annotations

from pathlib import Path

import pytest

from criadapt.core.hostpaths import resolve_mounts
from criadapt.errors import FailedPrecondition, InvalidArgument
from criadapt.model.container import LinuxContainerConfig, Mount
from criadapt.model.image import ImageSpec
from criadapt.model.linux import LinuxContainerSecurityContext, ProfileType, SecurityProfile
from criadapt.testing.factories import container_config


async def resolved(path: Path) -> str:
    (mount,) = (
        await resolve_mounts(container_config(mounts=(Mount(container_path="/c", host_path=str(path)),)))
    ).mounts
    return mount.host_path


async def test_a_config_without_host_paths_is_left_alone() -> None:
    config = container_config()
    assert await resolve_mounts(config) is config


async def test_symbolic_links_are_resolved(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert await resolved(tmp_path / "link") == str(tmp_path / "real")


async def test_a_missing_folder_is_made(tmp_path: Path) -> None:
    assert await resolved(tmp_path / "a" / "b") == str(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()


async def test_a_link_that_leads_nowhere_gets_a_folder_at_its_end(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("missing")
    assert await resolved(tmp_path / "link") == str(tmp_path / "missing")
    assert (tmp_path / "missing").is_dir()


async def test_files_are_mounted_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    assert await resolved(tmp_path / "f") == str(tmp_path / "f")
    assert (tmp_path / "f").read_text() == "x"


async def test_a_folder_that_cannot_be_made_is_refused_by_the_mounts_name(tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    with pytest.raises(FailedPrecondition, match=r"mount '/c': host path .*/f/x does not exist and cannot be made"):
        await resolved(tmp_path / "f" / "x")


async def test_an_image_volume_has_no_host_path() -> None:
    volume = Mount(container_path="/v", image=ImageSpec(image="busybox"), readonly=True)
    assert (await resolve_mounts(container_config(mounts=(volume,)))).mounts == (volume,)


def confined(ref: str, *, privileged: bool = False) -> LinuxContainerConfig:
    profile = SecurityProfile(profile_type=ProfileType.LOCALHOST, localhost_ref=ref)
    return LinuxContainerConfig(security_context=LinuxContainerSecurityContext(seccomp=profile, privileged=privileged))


@pytest.mark.parametrize(
    ("content", "error", "text"),
    [
        (None, FailedPrecondition, "cannot be read: No such file"),
        ("{", InvalidArgument, "is not JSON"),
        ("[]", InvalidArgument, "has no defaultAction"),
        ("{}", InvalidArgument, "has no defaultAction"),
    ],
)
async def test_a_bad_seccomp_profile_is_refused(
    tmp_path: Path, content: str | None, error: type[Exception], text: str
) -> None:
    path = tmp_path / "p.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(error, match=rf"seccomp\.localhost_ref .*{text}"):
        await resolve_mounts(container_config(linux=confined(str(path))))


async def test_a_seccomp_profile_has_an_absolute_path() -> None:
    with pytest.raises(InvalidArgument, match="is not an absolute path"):
        await resolve_mounts(container_config(linux=confined("p.json")))


async def test_a_good_profile_passes(tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text('{"defaultAction": "SCMP_ACT_ALLOW"}')
    config = container_config(linux=confined(str(tmp_path / "p.json")))
    assert await resolve_mounts(config) == config


async def test_a_privileged_containers_profile_is_not_looked_at() -> None:
    config = container_config(linux=confined("/nowhere", privileged=True))
    assert await resolve_mounts(config) is config
