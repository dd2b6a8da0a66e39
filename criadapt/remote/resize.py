"""Terminal sizes on the resize stream: JSON objects, one after the other."""

from __future__ import annotations

import json
from collections.abc import Iterator

MAX_TEXT = 4096  # bytes of an object that is not complete yet; a real one has some thirty


def encode(width: int, height: int) -> bytes:
    """One size, in characters."""
    return b'{"Width":%d,"Height":%d}\n' % (width, height)


class Sizes:
    """Finds the sizes in bytes that come in any pieces."""

    def __init__(self) -> None:
        self._text = ""
        self._decoder = json.JSONDecoder()

    def feed(self, data: bytes) -> Iterator[tuple[int, int]]:
        """Width and height of each whole object so far; sizes that no terminal has are left out.

        Raises ValueError when it is not JSON.
        """
        self._text = (self._text + data.decode("utf-8", "replace")).lstrip()
        while self._text:
            try:
                value, end = self._decoder.raw_decode(self._text)
            except json.JSONDecodeError as error:
                if len(self._text) > MAX_TEXT or not self._text.startswith("{"):
                    raise ValueError(f"not a terminal size: {self._text[:80]!r}") from error
                return  # the rest is yet to come
            except RecursionError as error:
                raise ValueError("not a terminal size: too many brackets") from error
            self._text = self._text[end:].lstrip()
            match value:
                case {"Width": bool()} | {"Height": bool()}:
                    pass
                case {"Width": int(width), "Height": int(height)} if 0 < width < 65536 and 0 < height < 65536:
                    yield width, height
                case _:
                    pass
