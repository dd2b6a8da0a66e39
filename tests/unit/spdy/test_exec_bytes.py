"""A whole exec conversation, read by a parser that shares no code with the library."""

from __future__ import annotations

import struct
import zlib

from criadapt.spdy import Connection, Role, StreamOpened, StreamReplied
from criadapt.spdy.dictionary import DICTIONARY

Frame = tuple[object, ...]
NAMES = {1: "SYN_STREAM", 2: "SYN_REPLY", 3: "RST_STREAM", 6: "PING", 7: "GOAWAY"}


def by_hand(data: bytes) -> list[Frame]:
    """All frames of one direction."""
    inflate = zlib.decompressobj(15, zdict=DICTIONARY)
    found: list[Frame] = []

    def headers(block: bytes) -> list[tuple[str, str]]:
        plain = inflate.decompress(block)
        assert block.endswith(b"\x00\x00\xff\xff")
        (count,) = struct.unpack_from(">I", plain)
        at, texts = 4, []
        for _ in range(2 * count):
            (size,) = struct.unpack_from(">I", plain, at)
            texts.append(plain[at + 4 : at + 4 + size].decode("ascii"))
            at += 4 + size
        assert at == len(plain)
        return list(zip(texts[::2], texts[1::2], strict=True))

    while data:
        first, second, flags, high, low = struct.unpack_from(">HHBBH", data)
        length = high << 16 | low
        payload, data = data[8 : 8 + length], data[8 + length :]
        assert len(payload) == length
        if first < 0x8000:
            found.append(("DATA", first << 16 | second, flags, payload))
            continue
        assert first == 0x8003
        name = NAMES[second]
        if name == "SYN_STREAM":
            stream, associated, priority, slot = struct.unpack_from(">IIBB", payload)
            assert (associated, priority, slot) == (0, 0, 0)
            found.append((name, stream, flags, headers(payload[10:])))
        elif name == "SYN_REPLY":
            found.append((name, struct.unpack_from(">I", payload)[0], flags, headers(payload[4:])))
        else:
            found.append((name, *struct.unpack(f">{length // 4}I", payload)))
    return found


def test_an_exec_is_on_the_wire_what_the_protocol_says() -> None:
    client, server = Connection(Role.CLIENT), Connection(Role.SERVER)
    wire = {"client": b"", "server": b""}
    accepted: list[int] = []

    def carry() -> None:
        there = b"".join(client.data_to_send())
        for event in server.receive_data(there):
            if isinstance(event, StreamOpened):
                server.reply(event.stream)
        back = b"".join(server.data_to_send())
        accepted.extend(event.stream for event in client.receive_data(back) if isinstance(event, StreamReplied))
        wire["client"] += there
        wire["server"] += back

    kinds = ("error", "stdin", "stdout", "stderr")
    error, stdin, stdout, stderr = (client.open_stream({"streamtype": kind}) for kind in kinds)
    carry()
    assert accepted == [1, 3, 5, 7]
    big = bytes(range(256)) * 400  # 102,400 bytes
    status = b'{"metadata":{},"status":"Success"}'
    client.send_data(stdin, b"hello\n")
    client.send_data(stdin, big, fin=True)
    client.ping()
    carry()
    server.send_data(stdout, b"hello\n")
    server.send_data(stderr, b"warning", fin=True)
    server.end_stream(stdout)
    server.send_data(error, status, fin=True)
    server.reset_stream(stdin)
    server.go_away()
    carry()
    client.end_stream(error)
    client.reset_stream(stdout)
    client.go_away()
    carry()

    assert by_hand(wire["client"]) == [
        ("SYN_STREAM", 1, 0, [("streamtype", "error")]),
        ("SYN_STREAM", 3, 0, [("streamtype", "stdin")]),
        ("SYN_STREAM", 5, 0, [("streamtype", "stdout")]),
        ("SYN_STREAM", 7, 0, [("streamtype", "stderr")]),
        ("DATA", 3, 0, b"hello\n"),
        ("DATA", 3, 0, big[:65536]),
        ("DATA", 3, 1, big[65536:]),
        ("PING", 1),
        ("DATA", 1, 1, b""),
        ("RST_STREAM", 5, 5),
        ("GOAWAY", 0, 0),
    ]
    assert by_hand(wire["server"]) == [
        ("SYN_REPLY", 1, 0, []),
        ("SYN_REPLY", 3, 0, []),
        ("SYN_REPLY", 5, 0, []),
        ("SYN_REPLY", 7, 0, []),
        ("PING", 1),
        ("DATA", 5, 0, b"hello\n"),
        ("DATA", 7, 1, b"warning"),
        ("DATA", 5, 1, b""),
        ("DATA", 1, 1, status),
        ("RST_STREAM", 3, 5),
        ("GOAWAY", 7, 0),
    ]
