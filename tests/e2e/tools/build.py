#!/usr/bin/env python3
"""Build the CRI clients that the end-to-end tests drive, and say where they are.

    python tests/e2e/tools/build.py    build crictl, critest and ginkgo, unless they are there already

go.mod and go.sum beside this file pin them. They are kept in the user's cache, by the pins, so that a second clone
builds nothing. Where there is no Go that can build them, nothing is built and that is no failure: the tests that
need them say so and are skipped.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
LDFLAGS = "-X sigs.k8s.io/cri-tools/pkg/version.Version=1.36.0"  # by itself `crictl --version` says "unknown"
RECIPES = {
    "crictl": ("build", "sigs.k8s.io/cri-tools/cmd/crictl"),
    "critest": ("test", "-c", "sigs.k8s.io/cri-tools/cmd/critest"),
    "ginkgo": ("build", "github.com/onsi/ginkgo/v2/ginkgo"),
}


class Unbuildable(Exception):
    """There is no Go, or none that can build these tools."""


@dataclass(frozen=True)
class Tool:
    """Where a client is, or why it is nowhere."""

    name: str
    path: Path | None
    source: str

    def __str__(self) -> str:
        return f"{self.name} {self.path} ({self.source})" if self.path else f"no {self.name} ({self.source})"


def cache() -> Path:
    """The folder that holds what these pins give."""
    pins = (HERE / "go.mod").read_bytes() + (HERE / "go.sum").read_bytes() + repr((LDFLAGS, RECIPES)).encode()
    if given := os.environ.get("CRIADAPT_E2E_CACHE"):
        base = Path(given)
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "criadapt", "e2e")
    return base.absolute() / hashlib.sha256(pins).hexdigest()[:16]


def find(name: str) -> Tool:
    """Look where $CRIADAPT_CRICTL and the like point, then in the cache, then on PATH."""
    variable = f"CRIADAPT_{name.upper()}"
    if given := os.environ.get(variable):
        if not (path := shutil.which(given)):
            raise FileNotFoundError(f"{variable} is {given!r}, which cannot be run")
        return Tool(name, Path(path).absolute(), variable)
    if (built := cache() / name).exists():
        return Tool(name, built, "built from tests/e2e/tools")
    if path := shutil.which(name):
        return Tool(name, Path(path).absolute(), "found on PATH")
    try:
        fitting_go()
    except Unbuildable as reason:
        return Tool(name, None, f"not built: {reason}; nor is it on PATH or in {variable}")
    return Tool(name, None, f"not built yet, run: make e2e-tools; nor is it on PATH or in {variable}")


def fitting_go() -> str:
    """The go command; raises Unbuildable with the reason if there is none that can build the tools."""
    if not (go := shutil.which("go")):
        raise Unbuildable("Go is not installed")
    # In this folder it minds what go.mod asks for, and fetches a newer toolchain where that is allowed.
    done = subprocess.run([go, "env", "GOVERSION"], cwd=HERE, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unbuildable(f"{go} does not fit: {' '.join(done.stderr.split())}")
    return go


def build(go: str) -> None:
    """Build all tools; the cache folder appears only when they are complete."""
    target = cache()
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".building-", dir=target.parent) as temporary:
        folder = Path(temporary, "tools")
        folder.mkdir()
        for name, recipe in RECIPES.items():
            print(f"building {name} into {target}", flush=True)
            run_go(go, recipe, folder / name)
        try:
            folder.rename(target)
        except OSError:
            if not target.is_dir():  # else another run was faster
                raise


def run_go(go: str, recipe: Sequence[str], output: Path) -> None:
    verb, *rest = recipe
    flags = ["-mod=readonly", "-buildvcs=false", "-trimpath", "-ldflags", LDFLAGS, "-o", str(output)]
    subprocess.run([go, verb, *flags, *rest], cwd=HERE, stdin=subprocess.DEVNULL, check=True)


def main() -> int:
    if cache().is_dir():
        return 0
    try:
        build(fitting_go())
    except Unbuildable as reason:
        print(f"crictl and critest are not built, their tests will be skipped: {reason}")
    except subprocess.CalledProcessError as error:
        print(f"failed: {' '.join(error.cmd)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
