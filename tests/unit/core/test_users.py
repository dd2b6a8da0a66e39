"""Who a container runs as, in all the forms a request and an image can say it."""

from __future__ import annotations

from typing import Any

import pytest

from criadapt.core import users
from criadapt.errors import InvalidArgument, Unsupported
from criadapt.model.linux import LinuxContainerSecurityContext, LinuxContainerUser, SupplementalGroupsPolicy

PASSWD = b"""root:x:0:0:root:/root:/bin/sh
web:x:1000:1000::/home/web:/bin/sh
daemon:x:2:22::/:/bin/false
broken:x:no:1::/:/bin/sh
short:x
caf\xc3\xa9:x:7:8::/:/
nobody:x:65534:65534
"""
GROUP = b"""root:x:0:root
web:x:1000:
extra:x:50000:web,daemon
wheel:x:10:root,webmaster
other:x:77:web
bad:x:nan:web
no-members:x:5
"""
FILES = {"/etc/passwd": PASSWD, "/etc/group": GROUP}
STRICT = SupplementalGroupsPolicy.STRICT


class Image:
    """The files of an image, with a note of what was read."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.read_paths: list[str] = []

    async def read(self, path: str) -> bytes | None:
        self.read_paths.append(path)
        return self.files.get(path)


async def no_files(path: str) -> bytes | None:
    raise Unsupported("backend 'x' cannot read a file of an image")


async def resolved(image_user: str = "", files: dict[str, bytes] = FILES, **context: Any) -> LinuxContainerUser:
    return await users.resolve(LinuxContainerSecurityContext(**context), image_user, Image(files).read)


@pytest.mark.parametrize(
    ("image_user", "context", "uid", "gid", "groups"),
    [
        ("", {}, 0, 0, (0, 10)),
        ("0", {}, 0, 0, (0, 10)),
        ("root", {}, 0, 0, (0, 10)),
        ("web", {}, 1000, 1000, (77, 1000, 50000)),
        ("1000", {}, 1000, 1000, (77, 1000, 50000)),
        ("4242", {}, 4242, 0, (0,)),
        ("web:extra", {}, 1000, 50000, (77, 50000)),
        ("web:5", {}, 1000, 5, (5, 77, 50000)),
        ("1000:0", {}, 1000, 0, (0, 77, 50000)),
        ("4242:4343", {}, 4242, 4343, (4343,)),
        ("web:", {}, 1000, 1000, (77, 1000, 50000)),
        (":extra", {}, 0, 50000, (0, 10, 50000)),
        ("café", {}, 7, 8, (8,)),
        ("daemon", {"run_as_user": 1000}, 1000, 1000, (77, 1000, 50000)),
        ("web:extra", {"run_as_user": 4242}, 4242, 0, (0,)),
        ("web:extra", {"run_as_user": 0}, 0, 0, (0, 10)),
        ("", {"run_as_username": "daemon"}, 2, 22, (22, 50000)),
        ("web:extra", {"run_as_username": "nobody"}, 65534, 65534, (65534,)),
        ("", {"run_as_user": 1000, "run_as_group": 3}, 1000, 3, (3, 77, 50000)),
        ("", {"run_as_user": 1000, "run_as_group": 0}, 1000, 0, (0, 77, 50000)),
        ("", {"run_as_username": "web", "run_as_group": 9}, 1000, 9, (9, 77, 50000)),
        ("", {"run_as_user": 1000, "supplemental_groups": (1234, 77)}, 1000, 1000, (77, 1000, 1234, 50000)),
    ],
)  # fmt: skip
async def test_merge_adds_the_images_groups(
    image_user: str, context: dict[str, Any], uid: int, gid: int, groups: tuple[int, ...]
) -> None:
    user = await resolved(image_user, **context)
    assert user == LinuxContainerUser(uid=uid, gid=gid, supplemental_groups=groups)


@pytest.mark.parametrize(
    ("image_user", "context", "uid", "gid", "groups"),
    [
        ("web", {}, 1000, 1000, (1000,)),
        ("web:extra", {}, 1000, 50000, (50000,)),
        ("", {"run_as_user": 1000, "supplemental_groups": (1234,)}, 1000, 1000, (1000, 1234)),
        ("", {"run_as_user": 1000, "run_as_group": 3, "supplemental_groups": (3, 4)}, 1000, 3, (3, 4)),
        ("", {"run_as_username": "daemon"}, 2, 22, (22,)),
    ],
)
async def test_strict_adds_nothing(
    image_user: str, context: dict[str, Any], uid: int, gid: int, groups: tuple[int, ...]
) -> None:
    user = await resolved(image_user, supplemental_groups_policy=STRICT, **context)
    assert user == LinuxContainerUser(uid=uid, gid=gid, supplemental_groups=groups)


@pytest.mark.parametrize("name", ["ghost", "broken", "short", "-1", "1.5", "web "])
async def test_a_name_the_image_does_not_know_is_refused(name: str) -> None:
    with pytest.raises(InvalidArgument, match="is not in the image's /etc/passwd"):
        await resolved(run_as_username=name)
    with pytest.raises(InvalidArgument, match="is not in the image's /etc/group"):
        await resolved(f"web:{name}")


async def test_an_image_without_account_files_knows_numbers_only() -> None:
    assert await resolved("1000:5", files={}) == LinuxContainerUser(uid=1000, gid=5, supplemental_groups=(5,))
    with pytest.raises(InvalidArgument):
        await resolved("web", files={})


async def test_a_backend_that_cannot_read_images_still_runs_numbers() -> None:
    context = LinuxContainerSecurityContext(run_as_user=1000, run_as_group=5, supplemental_groups=(6,))
    user = await users.resolve(context, "", no_files)
    assert user == LinuxContainerUser(uid=1000, gid=5, supplemental_groups=(5, 6))


@pytest.mark.parametrize("image_user", ["web", "1000:web"])
async def test_a_backend_that_cannot_read_images_says_so_for_names(image_user: str) -> None:
    with pytest.raises(Unsupported, match="cannot read a file"):
        await users.resolve(LinuxContainerSecurityContext(), image_user, no_files)


async def test_each_file_is_read_at_most_once() -> None:
    image = Image(FILES)
    await users.resolve(LinuxContainerSecurityContext(), "web:extra", image.read)
    assert image.read_paths == ["/etc/passwd", "/etc/group"]


async def test_files_that_are_not_text_do_no_harm() -> None:
    files = {"/etc/passwd": b"\xff\xfe:x:\xff:1\nweb:x:1:2\n", "/etc/group": b"\xff:\xff:3:web\n\0"}
    assert await resolved("web", files=files) == LinuxContainerUser(uid=1, gid=2, supplemental_groups=(2, 3))


@pytest.mark.parametrize("image_user", ["²", "0:²", "1" * 5000])
async def test_digits_that_are_no_number_are_names_nobody_has(image_user: str) -> None:
    with pytest.raises(InvalidArgument):
        await resolved(image_user)


@pytest.mark.parametrize("image_user", ["99999999999999999999", "0:4294967296", "4294967295", "0:4294967295"])
async def test_an_id_out_of_range_is_refused(image_user: str) -> None:
    with pytest.raises(InvalidArgument):
        await resolved(image_user)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", True),
        ("4294967294", True),
        ("4294967295", False),  # what the kernel calls "no id"
        ("00000000001", False),
        ("", False),
        ("-1", False),
        ("+1", False),
        (" 1", False),
        ("1_0", False),
        ("²", False),
        ("٣", False),
    ],
)
def test_only_what_the_kernel_can_have_is_an_id(text: str, expected: bool) -> None:
    assert users.is_number(text) is expected
