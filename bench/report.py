"""Results as a table for the terminal, as Markdown, and as JSON."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, fields
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import processes
from figures import Comparison, Fact, Results
from rich import box
from rich.console import Console
from rich.table import Table

BEGIN, END = "<!-- figures: begin (bench/run.py --markdown writes them) -->", "<!-- figures: end -->"


def machine() -> dict[str, Any]:
    """What the figures were taken on and with."""
    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "grpcio": version("grpcio"),
        "protobuf": version("protobuf"),
        "commit": _commit(),
        "taken_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "load_before": os.getloadavg()[0],
        "pinned": processes.PINNED,
    }


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _commit() -> str:
    done = subprocess.run(
        ("git", "-C", processes.HERE, "describe", "--always", "--dirty"), capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"


def described(facts: dict[str, Any]) -> str:
    """The machine in one line."""
    pinned = "server and client on a core each" if facts["pinned"] else "server and client share the only core"
    return (
        f"{facts['cpu']}, {facts['cores']} cores, Python {facts['python']}, grpcio {facts['grpcio']}, "
        f"protobuf {facts['protobuf']}, commit {facts['commit']}; {pinned}"
    )


COMPARED = (
    "RPC",
    "answer",
    "in flight",
    "per s",
    "bare per s",
    "times bare",
    "p50 ms",
    "p99 ms",
    "CPU µs",
    "bare CPU µs",
    "aim",
    "verdict",
)
STANDING = ("figure", "value", "aim", "verdict", "note")


def compared(results: Results) -> list[Sequence[str]]:
    """Rows under :data:`COMPARED`."""
    return [_compared(each) for each in results.comparisons]


def _compared(found: Comparison) -> Sequence[str]:
    return (
        found.name,
        "" if found.answer_bytes is None else _bytes(found.answer_bytes),
        str(found.inflight),
        f"{found.middle('criadapt', 'rate'):,.0f}",
        f"{found.middle('bare', 'rate'):,.0f}",
        f"{found.slower:.2f}",
        f"{found.middle('criadapt', 'p50') * 1e3:.2f}",
        f"{found.middle('criadapt', 'p99') * 1e3:.2f}",
        f"{found.middle('criadapt', 'cpu') * 1e6:,.0f}",
        f"{found.middle('bare', 'cpu') * 1e6:,.0f}",
        f"≤ {found.at_most}" if found.at_most else "",
        found.verdict,
    )


def standing(results: Results) -> list[Sequence[str]]:
    """Rows under :data:`STANDING`."""
    return [_standing(each) for each in results.facts]


def _standing(found: Fact) -> Sequence[str]:
    aim = f"{'≥' if found.higher_is_better else '≤'} {found.aim:g}" if found.aim is not None else ""
    return found.name, f"{_short(found.value)} {found.unit}", aim, found.verdict, found.note


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _bytes(size: int) -> str:
    return f"{size / 1024:,.0f} KiB" if size >= 10_240 else f"{size:,} B"


def show(results: Results, facts: dict[str, Any]) -> None:
    """Print both tables."""
    console = Console(highlight=False, width=None if os.isatty(1) else 170)
    console.print(described(facts))
    for head, rows in ((COMPARED, compared(results)), (STANDING, standing(results))):
        if not rows:
            continue
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for name in head:
            left = name in (head[0], "verdict", "note")
            table.add_column(name, justify="left" if left else "right", no_wrap=left and name != "note")
        for row in rows:
            style = "red" if "missed" in row else "green" if "met" in row else ""
            table.add_row(*row, style=style)
        console.print(table)
    console.print(f"aims missed: {', '.join(results.missed) or 'none'}")


def markdown(results: Results, facts: dict[str, Any]) -> str:
    """Both tables for a page."""
    tables = [_markdown(COMPARED, compared(results)), _markdown(STANDING, standing(results))]
    return "\n\n".join([described(facts) + ".", *tables])


def _markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    rule = ["---" if name in (head[0], "verdict", "note") else "--:" for name in head]
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, rule, *rows))


def put_into(page: Path, text: str) -> None:
    """Replace what stands between the two marks of a page."""
    before, begin, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise processes.BenchError(f"{page} has no place for the figures: {BEGIN} … {END}")
    page.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")


def save(results: Results, facts: dict[str, Any], path: Path) -> None:
    """Everything, every round, as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "machine": facts,
        "comparisons": [
            asdict(each) | {"times_bare": each.slower, "times_cpu": each.dearer, "verdict": each.verdict}
            for each in results.comparisons
        ],
        "facts": [asdict(each) | {"value": each.value, "verdict": each.verdict} for each in results.facts],
    }
    path.write_text(json.dumps(document, indent=1) + "\n")


def saved(path: Path) -> tuple[Results, dict[str, Any]]:
    """What an earlier run wrote."""
    document = json.loads(path.read_text())
    comparison, fact = ([each.name for each in fields(cls)] for cls in (Comparison, Fact))
    results = Results(
        comparisons=[Comparison(**{key: row[key] for key in comparison}) for row in document["comparisons"]],
        facts=[Fact(**{key: row[key] for key in fact}) for row in document["facts"]],
    )
    return results, document["machine"]
