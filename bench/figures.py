"""What was measured: values, their medians over the rounds, and what they are held against."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

Round = dict[str, Any]
"""Figures of one server in one round, as the load generator tells them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """criadapt beside a bare server that returns the same bytes."""

    name: str
    inflight: int
    criadapt: Sequence[Round]
    bare: Sequence[Round]
    """Round n of both ran one right after the other."""
    answer_bytes: int | None = None
    at_most: float | None = None
    """How many times slower than bare it may be."""

    def middle(self, who: str, key: str) -> float:
        """Median over the rounds of ``criadapt`` or ``bare``."""
        rounds: Sequence[Round] = getattr(self, who)
        return float(median(each[key] for each in rounds))

    @property
    def slower(self) -> float:
        """How many times as long as bare criadapt takes for the same number of requests."""
        return float(median(b["rate"] / a["rate"] for a, b in zip(self.criadapt, self.bare, strict=True)))

    @property
    def dearer(self) -> float:
        """How many times as much CPU as bare criadapt uses for a request."""
        return float(median(a["cpu"] / b["cpu"] for a, b in zip(self.criadapt, self.bare, strict=True)))

    @property
    def verdict(self) -> str:
        """``met``, ``missed``, or nothing where there is no aim."""
        return "" if self.at_most is None else "met" if self.slower <= self.at_most else "missed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One figure that stands for itself."""

    name: str
    values: Sequence[float]
    unit: str
    aim: float | None = None
    higher_is_better: bool = False
    note: str = ""

    @property
    def value(self) -> float:
        """Median over the rounds."""
        return median(self.values)

    @property
    def verdict(self) -> str:
        """``met``, ``missed``, or nothing where there is no aim."""
        if self.aim is None:
            return ""
        return "met" if (self.value >= self.aim if self.higher_is_better else self.value <= self.aim) else "missed"


@dataclass(slots=True)
class Results:
    """Everything one run found out."""

    comparisons: list[Comparison] = field(default_factory=list)
    facts: list[Fact] = field(default_factory=list)
    told: Callable[[str], None] = lambda text: None
    """Called with a line for every figure as it comes."""

    def add(self, found: Comparison | Fact) -> None:
        """Keep a figure."""
        if isinstance(found, Comparison):
            self.comparisons.append(found)
            self.told(f"{found.name}, {found.inflight} in flight: {found.slower:.2f} times bare")
        else:
            self.facts.append(found)
            self.told(f"{found.name}: {found.value:.4g} {found.unit}")

    @property
    def missed(self) -> list[str]:
        """Names of what missed its aim."""
        found: list[Comparison | Fact] = [*self.comparisons, *self.facts]
        return [each.name for each in found if each.verdict == "missed"]
