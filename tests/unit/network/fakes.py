"""CNI plugins made by tests: shell scripts that write down what they were told and answer as they were told."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from criadapt.network.config import VERSIONS

SCRIPT = """#!/bin/sh
# Written by a test of criadapt.
base={base}
call=$(mktemp -d "$base/calls/$(date +%s%N).XXXXXX")
env > "$call/env"
cat > "$call/stdin"
echo {name} > "$call/plugin"
mv "$call" "$call.done"
answer="$base/answers/{name}.$CNI_COMMAND"
[ ! -e "$answer" ] || . "$answer"
"""


@dataclass(frozen=True)
class Call:
    """One call of a plugin."""

    plugin: str
    env: dict[str, str]
    config: Any

    @property
    def command(self) -> str:
        return self.env["CNI_COMMAND"]

    def __str__(self) -> str:
        return f"{self.plugin} {self.command}"


class Fakes:
    """A directory of plugins, and one of configurations."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.bin = base / "bin"
        self.configs = base / "net.d"
        for folder in (self.bin, self.configs, base / "calls", base / "answers"):
            folder.mkdir(parents=True)

    def install(self, name: str, result: object = None, *, versions: Sequence[str] = VERSIONS) -> None:
        """A plugin that knows `versions` and answers ADD with `result`."""
        path = self.bin / name
        path.write_text(SCRIPT.format(base=shlex.quote(str(self.base)), name=name))
        path.chmod(0o755)
        self.answer(name, "VERSION", {"cniVersion": versions[-1], "supportedVersions": list(versions)})
        if result is not None:
            self.answer(name, "ADD", result)

    def answer(self, name: str, command: str, content: object, *, status: int = 0) -> None:
        """What to print to a command from now on, as JSON unless it is text, and the exit status."""
        text = content if isinstance(content, str) else json.dumps(content)
        self.on(name, command, f"printf %s {shlex.quote(text)}\nexit {status}\n")

    def on(self, name: str, command: str, script: str) -> None:
        """What to do at a command from now on, in shell."""
        (self.base / "answers" / f"{name}.{command}").write_text(script)

    def configure(self, content: object, file: str = "10-test.conflist") -> Path:
        """Write a configuration."""
        path = self.configs / file
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    def calls(self, *commands: str) -> list[Call]:
        """What plugins were called for, in order; VERSION only if asked for."""
        found = []
        for folder in sorted((self.base / "calls").glob("*.done")):
            lines = (folder / "env").read_text().splitlines()
            env = dict(line.split("=", 1) for line in lines if "=" in line)
            stdin = (folder / "stdin").read_text()
            call = Call((folder / "plugin").read_text().strip(), env, json.loads(stdin))
            if call.command in commands or (not commands and call.command != "VERSION"):
                found.append(call)
        return found


def result(*addresses: str, version: str = "1.0.0", **more: object) -> dict[str, Any]:
    """What a plugin answers that gave these addresses to eth0."""
    return {
        "cniVersion": version,
        "interfaces": [{"name": "veth1"}, {"name": "eth0", "sandbox": "/run/netns/x"}],
        "ips": [{"address": address, "interface": 1} for address in addresses],
        **more,
    }
