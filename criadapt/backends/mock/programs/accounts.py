"""Names of users and groups, from the container's /etc."""

from __future__ import annotations

from criadapt.backends.mock.programs.context import Context


def _rows(ctx: Context, path: str) -> list[list[str]]:
    try:
        text = ctx.files.read(path).decode(errors="surrogateescape")
    except OSError:  # an image need not have one
        return []
    return [fields for line in text.splitlines() if len(fields := line.split(":")) > 2]


def user_name(ctx: Context, uid: int) -> str:
    """Name of a user, the number if it has none."""
    return next((fields[0] for fields in _rows(ctx, "/etc/passwd") if fields[2] == str(uid)), str(uid))


def group_name(ctx: Context, gid: int) -> str:
    """Name of a group, the number if it has none."""
    return next((fields[0] for fields in _rows(ctx, "/etc/group") if fields[2] == str(gid)), str(gid))


def user_id(ctx: Context, name: str, table: str = "/etc/passwd") -> int:
    """Number of a user, or of a group. Raises UsageError for an unknown one."""
    if name.isdigit():
        return int(name)
    number = next((fields[2] for fields in _rows(ctx, table) if fields[0] == name), None)
    if number is None:
        ctx.usage(f"unknown {'user' if table.endswith('passwd') else 'group'} {name}")
    return int(number)


def user_row(ctx: Context, name: str) -> list[str] | None:
    """Fields of a user's line, by name."""
    return next((fields for fields in _rows(ctx, "/etc/passwd") if fields[0] == name), None)
