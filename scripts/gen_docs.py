#!/usr/bin/env python3
"""Write the pages of the documentation that are made of the code.

    python scripts/gen_docs.py            write docs/configuration.md
    python scripts/gen_docs.py --check    exit 1 if it is not what the code gives

The backends are those that pyproject.toml names, whatever else is installed where this runs.
"""

from __future__ import annotations

import argparse
import difflib
import sys
import tomllib
from pathlib import Path
from pkgutil import resolve_name

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the tree this script is part of, not an installed criadapt

from criadapt.cli.reference import reference_markdown  # noqa: E402

PAGE = ROOT / "docs" / "configuration.md"


def configuration() -> str:
    """The text of docs/configuration.md."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    entries = project["entry-points"]["criadapt.backends"]
    return reference_markdown([resolve_name(value) for value in entries.values()])


def main() -> int:
    parser = argparse.ArgumentParser(description="Write the pages of the documentation that are made of the code.")
    parser.add_argument("--check", action="store_true", help="change nothing, fail if anything differs")
    check: bool = parser.parse_args().check
    wanted = configuration()
    found = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    if wanted == found:
        return 0
    name = PAGE.relative_to(ROOT).as_posix()
    if not check:
        PAGE.write_text(wanted, encoding="utf-8")
        print(f"wrote {name}")
        return 0
    diff = difflib.unified_diff(found.splitlines(), wanted.splitlines(), name, "generated", n=1, lineterm="")
    print(*diff, f"{name} is not what the code gives: run `python scripts/gen_docs.py`", sep="\n", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
