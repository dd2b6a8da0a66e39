#!/usr/bin/env python3
"""Measure criadapt over its mock backend, beside a bare gRPC server that returns the same bytes.

    python bench/run.py                       everything, some five minutes
    python bench/run.py --quick               less of everything, under a minute
    python bench/run.py --only lives          one scenario; may be repeated
    python bench/run.py --markdown FILE       put the tables into a page, between its marks
    python bench/run.py --from RESULTS.json   show an earlier run instead of measuring

Compare ratios, not figures of different machines or days: criadapt and bare take turns, so what disturbs one disturbs
the other. Ends with 0 even when an aim is missed; with --strict then with 1.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import processes
import report
from figures import Results
from scenarios import FULL, QUICK, Bench, calls, lives, memory, starts
from streams import streams

SCENARIOS = {each.__name__: each for each in (starts, calls, lives, memory, streams)}


def main() -> int:
    """Measure, show, keep."""
    args = _arguments()
    if args.earlier:
        results, facts = report.saved(args.earlier)
    else:
        facts = report.machine()
        results = _measured(args)
        taken = facts["taken_at"].replace(":", "").partition("+")[0]
        path = args.json or processes.HERE / "results" / f"{taken}-{facts['commit']}.json"
        report.save(results, facts, path)
        print(f"every round: {path}", file=sys.stderr)
    report.show(results, facts)
    if args.markdown:
        report.put_into(args.markdown, report.markdown(results, facts))
    return 1 if args.strict and results.missed else 0


def _measured(args: argparse.Namespace) -> Results:
    began = time.monotonic()

    def tell(text: str) -> None:
        print(f"{time.monotonic() - began:4.0f} s  {text}", file=sys.stderr, flush=True)

    results = Results(told=tell)
    # Unix socket paths are short: 107 bytes at most.
    with (
        tempfile.TemporaryDirectory(prefix="criadapt-bench-", dir="/tmp") as folder,
        processes.Client(Path(folder)) as client,
    ):
        bench = Bench(Path(folder), client, QUICK if args.quick else FULL, results, args.backend)
        for name in args.only or SCENARIOS:
            SCENARIOS[name](bench)
    return results


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n")[0], formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds, smaller populations")
    parser.add_argument("--only", action="append", choices=SCENARIOS, help="this scenario; may be repeated")
    parser.add_argument("--backend", default="mock", help="engine to serve (mock)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where every round is written")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="page whose tables are replaced")
    parser.add_argument("--from", dest="earlier", type=Path, metavar="FILE", help="an earlier run's JSON to show")
    parser.add_argument("--strict", action="store_true", help="end with 1 when an aim is missed")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except processes.BenchError as error:
        sys.exit(f"bench: {error}")
