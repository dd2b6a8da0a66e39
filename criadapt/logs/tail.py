"""Finds where the last lines of a log begin, from its end backwards."""

from __future__ import annotations

from dataclasses import dataclass, field

from criadapt.logs.format import Entry

LOOK_BACK = 1 << 20
"""Bytes that are gone back at most for the beginnings of lines whose ends were found."""


@dataclass(slots=True, kw_only=True)
class TailSearch:
    """Is shown the entries of a log, last one first, until it has passed the beginnings of `wanted` lines.

    A line ends with an F entry, or at the end of the log, and began behind the F entry before it in the same stream.
    Entries of other lines may stand between its own.
    """

    wanted: int
    joined: bool
    """Whether pieces make lines; if not, each entry is one."""
    others: int = 0
    """Unwanted lines that end behind the beginning of the first wanted one: a reader that begins there meets them
    first and drops them."""
    _found: int = 0
    _ends: int = 0
    _beyond: int = 0
    _open: dict[str, bool] = field(default_factory=dict)
    """Of each stream: whether the line that is being passed is a wanted one."""

    def passes(self, entry: Entry) -> bool:
        """Take notice of the entry before the last one. Whether it belongs to a wanted line."""
        if self.is_complete:
            self._beyond += len(entry.content) + 1
        ends = not (self.joined and entry.partial and entry.stream in self._open)
        if ends:
            wanted = self._found < self.wanted
            self._found += wanted
            self._ends += not wanted and not entry.partial
            self._open[entry.stream] = wanted and self.joined
        else:
            wanted = self._open[entry.stream]
        if wanted:
            self.others = self._ends
        return wanted

    @property
    def is_complete(self) -> bool:
        """Whether the ends of all wanted lines were passed."""
        return self._found == self.wanted

    @property
    def is_over(self) -> bool:
        """Whether nothing before can belong to a wanted line."""
        return self.is_complete and (self._beyond > LOOK_BACK or not any(self._open.values()))
