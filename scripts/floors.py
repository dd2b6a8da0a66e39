"""Print the run-time dependencies at the oldest versions that pyproject.toml promises, as pip constraints."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path


def main() -> int:
    """One ``name==floor`` a line."""
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"]
    for requirement in project["dependencies"]:
        found = re.fullmatch(r"([\w-]+)>=([\d.]+)(?:,<[\d.]+)?", requirement)
        if found is None:
            print(f"pyproject.toml: {requirement!r} has no floor", file=sys.stderr)
            return 1
        print("==".join(found.groups()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
