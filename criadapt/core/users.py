"""Who a container runs as: requested ids and names looked up in the image's /etc/passwd and /etc/group.

Rules (CRI v1, LinuxContainerSecurityContext; Docker and containerd agree): the request's user wins over the image's;
the primary group is run_as_group, else the group of the passwd entry, else 0; policy MERGE adds the groups that list
the user in /etc/group, STRICT does not; the primary group is always among the supplementary ones.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from criadapt.errors import InvalidArgument, Unsupported
from criadapt.model.linux import LinuxContainerSecurityContext, LinuxContainerUser, SupplementalGroupsPolicy

MAX_ID = 2**32 - 2  # the kernel keeps the last one for "no id"

ReadFile = Callable[[str], Awaitable[bytes | None]]


def is_number(text: str) -> bool:
    """Whether `text` is an id the kernel can have: ASCII digits, not too many."""
    return text.isascii() and text.isdigit() and len(text) <= 10 and int(text) <= MAX_ID


@dataclass(frozen=True, slots=True)
class _Account:
    name: str
    uid: int
    gid: int


async def resolve(context: LinuxContainerSecurityContext, image_user: str, read: ReadFile) -> LinuxContainerUser:
    """Effective identity. `read` gives a file of the image, None if it has none.

    Raises InvalidArgument for a name the image does not know, Unsupported if names cannot be looked up.
    """
    files = _Files(read)
    user, group = _asked(context, image_user)
    account = await files.account(user)
    gid = context.run_as_group
    if gid is None:
        gid = await files.group_id(group) if group else account.gid
    groups = {gid, *context.supplemental_groups}
    if context.supplemental_groups_policy is SupplementalGroupsPolicy.MERGE and account.name:
        groups |= await files.groups_listing(account.name)
    return LinuxContainerUser(uid=account.uid, gid=gid, supplemental_groups=tuple(sorted(groups)))


def _asked(context: LinuxContainerSecurityContext, image_user: str) -> tuple[str, str]:
    """User and group as text; a group given by the image counts only together with the image's user."""
    if context.run_as_user is not None:
        return str(context.run_as_user), ""
    if context.run_as_username:
        return context.run_as_username, ""
    user, _, group = image_user.partition(":")
    return user or "0", group


class _Files:
    """The image's account files, read at most once and only when asked for."""

    def __init__(self, read: ReadFile) -> None:
        self._read = read
        self._cache: dict[str, list[list[str]]] = {}

    async def account(self, user: str) -> _Account:
        number = int(user) if is_number(user) else None
        for name, _, uid, gid, *_ in await self._rows("/etc/passwd", 4, needed=number is None):
            if (name == user if number is None else uid == user) and is_number(uid) and is_number(gid):
                return _Account(name, int(uid), int(gid))
        if number is None:
            raise InvalidArgument(f"user {user!r} is not in the image's /etc/passwd; use a name it has, or a number")
        return _Account("", number, 0)

    async def group_id(self, group: str) -> int:
        if is_number(group):
            return int(group)
        for name, _, gid, *_ in await self._rows("/etc/group", 3, needed=True):
            if name == group and is_number(gid):
                return int(gid)
        raise InvalidArgument(f"group {group!r} is not in the image's /etc/group; use a name it has, or a number")

    async def groups_listing(self, user: str) -> set[int]:
        return {
            int(gid)
            for _, _, gid, members, *_ in await self._rows("/etc/group", 4, needed=False)
            if is_number(gid) and user in members.split(",")
        }

    async def _rows(self, path: str, columns: int, *, needed: bool) -> list[list[str]]:
        if path not in self._cache:
            try:
                content = await self._read(path)
            except Unsupported:
                if needed:
                    raise
                content = None
            text = (content or b"").decode("utf-8", "replace")
            self._cache[path] = [line.split(":") for line in text.splitlines()]
        return [row for row in self._cache[path] if len(row) >= columns]
