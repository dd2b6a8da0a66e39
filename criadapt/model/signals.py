"""Signals by their CRI enum, their POSIX name and their Linux number.

The enum's numbers are ordinals of the interface, not kernel numbers; :attr:`Signal.number` gives the latter.
"""

from __future__ import annotations

import signal as _posix
from enum import IntEnum

from criadapt.errors import InvalidArgument


class Signal(IntEnum):
    """Stop signals of CRI v1; RUNTIME_DEFAULT means the image's signal, else SIGTERM."""

    RUNTIME_DEFAULT = 0
    SIGABRT = 1
    SIGALRM = 2
    SIGBUS = 3
    SIGCHLD = 4
    SIGCLD = 5
    SIGCONT = 6
    SIGFPE = 7
    SIGHUP = 8
    SIGILL = 9
    SIGINT = 10
    SIGIO = 11
    SIGIOT = 12
    SIGKILL = 13
    SIGPIPE = 14
    SIGPOLL = 15
    SIGPROF = 16
    SIGPWR = 17
    SIGQUIT = 18
    SIGSEGV = 19
    SIGSTKFLT = 20
    SIGSTOP = 21
    SIGSYS = 22
    SIGTERM = 23
    SIGTRAP = 24
    SIGTSTP = 25
    SIGTTIN = 26
    SIGTTOU = 27
    SIGURG = 28
    SIGUSR1 = 29
    SIGUSR2 = 30
    SIGVTALRM = 31
    SIGWINCH = 32
    SIGXCPU = 33
    SIGXFSZ = 34
    SIGRTMIN = 35
    SIGRTMINPLUS1 = 36
    SIGRTMINPLUS2 = 37
    SIGRTMINPLUS3 = 38
    SIGRTMINPLUS4 = 39
    SIGRTMINPLUS5 = 40
    SIGRTMINPLUS6 = 41
    SIGRTMINPLUS7 = 42
    SIGRTMINPLUS8 = 43
    SIGRTMINPLUS9 = 44
    SIGRTMINPLUS10 = 45
    SIGRTMINPLUS11 = 46
    SIGRTMINPLUS12 = 47
    SIGRTMINPLUS13 = 48
    SIGRTMINPLUS14 = 49
    SIGRTMINPLUS15 = 50
    SIGRTMAXMINUS14 = 51
    SIGRTMAXMINUS13 = 52
    SIGRTMAXMINUS12 = 53
    SIGRTMAXMINUS11 = 54
    SIGRTMAXMINUS10 = 55
    SIGRTMAXMINUS9 = 56
    SIGRTMAXMINUS8 = 57
    SIGRTMAXMINUS7 = 58
    SIGRTMAXMINUS6 = 59
    SIGRTMAXMINUS5 = 60
    SIGRTMAXMINUS4 = 61
    SIGRTMAXMINUS3 = 62
    SIGRTMAXMINUS2 = 63
    SIGRTMAXMINUS1 = 64
    SIGRTMAX = 65

    @property
    def number(self) -> int:
        """Linux signal number; RUNTIME_DEFAULT counts as SIGTERM."""
        if self is Signal.RUNTIME_DEFAULT:
            return int(_posix.SIGTERM)
        if self >= Signal.SIGRTMAXMINUS14:
            return 64 - (Signal.SIGRTMAX - self)
        if self >= Signal.SIGRTMIN:
            return 34 + (self - Signal.SIGRTMIN)
        return int(getattr(_posix, self.name, _OTHER_NUMBERS.get(self.name, 0)))

    @classmethod
    def parse(cls, text: str) -> Signal:
        """Signal from ``SIGTERM``, ``term``, ``15`` or ``SIGRTMIN+3``, as images and engines spell them.

        Raises InvalidArgument for anything else.
        """
        word = text.strip().upper()
        if word.isascii() and word.isdigit():
            found = _BY_NUMBER.get(int(word)) if len(word) <= 2 else None
        else:
            word = word if word.startswith("SIG") else "SIG" + word
            found = cls.__members__.get(word.replace("+", "PLUS").replace("-", "MINUS"))
        if found is None or found is cls.RUNTIME_DEFAULT:
            raise InvalidArgument(f"{text!r} is not a signal; use a name such as SIGTERM or a number from 1 to 64")
        return found


# Linux names that Python's signal module may lack on other systems.
_OTHER_NUMBERS = {"SIGCLD": 17, "SIGIOT": 6, "SIGPOLL": 29, "SIGPWR": 30, "SIGSTKFLT": 16}
_BY_NUMBER: dict[int, Signal] = {}
for _signal in Signal:
    if _signal is not Signal.RUNTIME_DEFAULT:
        _BY_NUMBER.setdefault(_signal.number, _signal)
for _name in ("SIGCHLD", "SIGABRT", "SIGIO"):  # the usual name of numbers that have two
    _BY_NUMBER[Signal[_name].number] = Signal[_name]
