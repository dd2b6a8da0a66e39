"""Checksums and encodings: md5sum, sha256sum, cksum's cousins, base64, hexdump."""

from __future__ import annotations

import base64
import binascii
import hashlib

from criadapt.backends.mock.program_table import program
from criadapt.backends.mock.programs.context import Context

_CANT_OPEN = "can't open '{0}': {1}"


@program("md5sum", "sha1sum", "sha256sum", "sha512sum")
async def checksum(ctx: Context) -> int:
    """Checksums of files; -c verifies a list of them."""
    options, paths = ctx.options("cs")
    algorithm = ctx.name.removesuffix("sum")
    if "c" in options:
        return await _verify(ctx, algorithm, paths)
    bad = False
    for path in paths or ["-"]:
        digest = await _digest(ctx, algorithm, path)
        bad = bad or digest is None
        if digest is not None:
            ctx.print(f"{digest}  {path}")
    return int(bad)


async def _digest(ctx: Context, algorithm: str, path: str) -> str | None:
    state = hashlib.new(algorithm, usedforsecurity=False)
    ctx.failed = False
    async for data in ctx.chunks([path], _CANT_OPEN):
        state.update(data)
    return None if ctx.failed else state.hexdigest()


async def _verify(ctx: Context, algorithm: str, paths: list[str]) -> int:
    bad = 0
    for line in [line.decode(errors="surrogateescape") async for line in ctx.lines(paths, _CANT_OPEN)]:
        digest, _, path = line.partition("  ")
        good = await _digest(ctx, algorithm, path) == digest
        ctx.print(f"{path}: {'OK' if good else 'FAILED'}")
        bad += not good
    if bad:
        ctx.error(f"WARNING: {bad} computed checksums did NOT match")
    return int(bad > 0)


@program("base64")
async def base64_(ctx: Context) -> int:
    """Encode, or decode with -d; -w sets the length of lines."""
    options, paths = ctx.options("dw:i", ["decode", "wrap="])
    content = b"".join([data async for data in ctx.chunks(paths, _CANT_OPEN)])
    if "d" in options or "decode" in options:
        try:
            ctx.put(1, base64.b64decode(b"".join(content.split()), validate=True))
        except binascii.Error:
            ctx.usage("truncated input")
        return int(ctx.failed)
    text = base64.b64encode(content)
    width = int(options.get("w", options.get("wrap", "76")) or "0")
    if width:
        text = b"".join(text[start : start + width] + b"\n" for start in range(0, len(text), width))
    ctx.put(1, text)
    return int(ctx.failed)


@program("hexdump", "xxd", "od")
async def hexdump(ctx: Context) -> int:
    """Bytes in hexadecimal, in the canonical form of hexdump -C."""
    _, paths = ctx.options("C")
    content = b"".join([data async for data in ctx.chunks(paths, _CANT_OPEN)])
    for start in range(0, len(content), 16):
        row = content[start : start + 16]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        ctx.print(f"{start:08x}  {row[:8].hex(' '):<23}  {row[8:].hex(' '):<23}  |{text}|")
    ctx.print(f"{len(content):08x}")
    return int(ctx.failed)
