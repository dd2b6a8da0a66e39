"""The examples of the documentation, run as they stand."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from criadapt.testing.server import RunningServer, running_server

DOCS = Path(__file__).parents[2] / "docs"
ROOT = DOCS.parent
PAGES = (DOCS / "client.md", ROOT / "README.md")
EXAMPLE = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with running_server() as server:
        yield server


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_examples_of_a_page_run(page: Path, server: RunningServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRIADAPT_ENDPOINT", server.endpoint)
    text = page.read_text(encoding="utf-8")
    examples = list(EXAMPLE.finditer(text))
    assert examples
    names: dict[str, Any] = {"__name__": "example"}  # one after the other, as a reader would type them
    for example in examples:
        line = text[: example.start()].count("\n") + 1
        code = compile("\n" * line + example[1], str(page), "exec")
        exec(code, names)
