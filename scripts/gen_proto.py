#!/usr/bin/env python3
"""Generate the Python modules of the CRI from proto/runtime/v1/api.proto.

    python scripts/gen_proto.py            write criadapt/cri/v1
    python scripts/gen_proto.py --check    exit 1 if criadapt/cri/v1 is not what the proto gives

The generators live in a virtual environment of their own (.venv-gen in the repository root), made on
first use, because they need other protobuf and grpcio versions than the project is developed with.
Any Python that has wheels for the pins below will do: 3.11 to 3.13.
"""

from __future__ import annotations

import argparse
import difflib
import os
import subprocess
import sys
import tempfile
import venv
from collections.abc import Mapping
from itertools import islice
from pathlib import Path

# The whole environment, so that the output depends on nothing but the proto.  The pair that matters is
# grpcio-tools and mypy-protobuf.  grpcio-tools is old on purpose: generated code refuses runtimes older
# than its generator and allows the next major version, so 1.72.1 (protobuf 6.30 code) is what lets the
# project run on grpcio >= 1.72.1 and on protobuf >= 6.30, < 8.
REQUIREMENTS = """\
grpcio==1.72.1
grpcio-tools==1.72.1
mypy-protobuf==5.1.0
protobuf==6.33.6
setuptools==80.9.0
types-protobuf==7.35.1.20260906
typing_extensions==4.16.0
"""

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv-gen"
PROTO_DIR = ROOT / "proto" / "runtime" / "v1"
PACKAGE = Path("criadapt", "cri", "v1")
INIT = '"""The CRI v1 in Python, generated from proto/runtime/v1/api.proto by scripts/gen_proto.py."""\n'
DIFF_LINES = 20


class GenerationError(Exception):
    """The modules could not be generated; the message is for the person at the terminal."""


def tool(name: str) -> Path:
    return VENV / ("Scripts" if os.name == "nt" else "bin") / name


def run(*command: str | Path) -> None:
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    if done.returncode:
        raise GenerationError(f"failed: {' '.join(map(str, command))}\n{done.stdout}{done.stderr}".rstrip())


def ensure_tools() -> None:
    """Make .venv-gen, or make it anew if it was built from other pins or not finished."""
    stamp = VENV / "requirements.txt"  # written last: its presence means the environment is complete
    if stamp.is_file() and stamp.read_text() == REQUIREMENTS:
        return
    print(f"creating {VENV.name} with the pinned generators", file=sys.stderr)
    try:
        venv.create(VENV, clear=True, with_pip=True)
    except subprocess.CalledProcessError as error:
        raise GenerationError(f"this Python cannot make a virtual environment with pip: {error}") from error
    run(
        *(tool("python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
        *("--only-binary", "grpcio,grpcio-tools,protobuf", *REQUIREMENTS.split()),
    )
    stamp.write_text(REQUIREMENTS)


def generate() -> dict[str, str]:
    """All files of criadapt/cri/v1 by name, as they should be."""
    ensure_tools()
    with tempfile.TemporaryDirectory() as out:
        run(
            *(tool("python"), "-m", "grpc_tools.protoc"),
            # The virtual path makes protoc believe that the proto lies in the Python package, so that the
            # generated imports are right as they come.
            f"-I{PACKAGE.as_posix()}={PROTO_DIR}",
            *(f"--python_out={out}", f"--grpc_python_out={out}"),
            *(f"--mypy_out=quiet:{out}", f"--mypy_grpc_out=quiet:{out}"),
            f"--plugin=protoc-gen-mypy={tool('protoc-gen-mypy')}",
            f"--plugin=protoc-gen-mypy_grpc={tool('protoc-gen-mypy_grpc')}",
            f"{PACKAGE.as_posix()}/api.proto",
        )
        files = {path.name: path.read_text(encoding="utf-8") for path in (Path(out) / PACKAGE).iterdir()}
    files["__init__.py"] = INIT
    files["api_pb2.py"] = with_private_pool(files["api_pb2.py"])
    return dict(sorted(files.items()))


def with_private_pool(source: str) -> str:
    """Give the generated module a descriptor pool of its own.

    The default pool is one per process and takes each symbol once.  Another package with its own stubs
    of the same CRI would define runtime.v1.* a second time and whichever came second would fail to
    import.  In a pool of our own the names clash with nobody, and nobody has to look ours up by name.
    """
    default, private = "_descriptor_pool.Default()", "_descriptor_pool.DescriptorPool()"
    if source.count(default) != 1:
        raise GenerationError(f"api_pb2.py has {source.count(default)} times {default}, expected it once")
    return source.replace(default, private)


def present() -> dict[str, str]:
    """All files that criadapt/cri/v1 holds now."""
    folder = ROOT / PACKAGE
    return {
        path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8", errors="replace")
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }


def differences(wanted: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    """A report of one item per file that is missing, surplus or different."""
    report = []
    for name in sorted(wanted.keys() | found.keys()):
        path = (PACKAGE / name).as_posix()
        if name not in found:
            report.append(f"missing: {path}")
        elif name not in wanted:
            report.append(f"surplus: {path}")
        elif wanted[name] != found[name]:
            old, new = found[name].splitlines(), wanted[name].splitlines()
            lines = difflib.unified_diff(old, new, path, "generated", n=1, lineterm="")
            short = [line[:160] for line in islice(lines, DIFF_LINES)]
            report.append("\n".join([f"different: {path}", *short]))
    return report


def write(wanted: Mapping[str, str], found: Mapping[str, str]) -> None:
    folder = ROOT / PACKAGE
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in wanted.items():
        if found.get(name) == text:
            continue
        new = folder / f".{name}.new"
        new.write_text(text, encoding="utf-8")
        new.replace(folder / name)
        print(f"wrote {(PACKAGE / name).as_posix()}")
    for name in found.keys() - wanted.keys():
        if "_pb2" in name:  # left by a proto that is gone; anything else was put there by a person
            (folder / name).unlink()
            print(f"removed {(PACKAGE / name).as_posix()}")


def main() -> int:
    parser = argparse.ArgumentParser(description="Generate criadapt/cri/v1 from proto/runtime/v1/api.proto.")
    parser.add_argument("--check", action="store_true", help="change nothing, fail if anything differs")
    check: bool = parser.parse_args().check
    try:
        wanted = generate()
    except GenerationError as error:
        print(error, file=sys.stderr)
        return 1
    if not check:
        write(wanted, present())
        return 0
    report = differences(wanted, present())
    if report:
        report.append("criadapt/cri/v1 is not what the proto gives: run `make proto`")
        print(*report, sep="\n", file=sys.stderr)
    return 1 if report else 0


if __name__ == "__main__":
    sys.exit(main())
