"""CNI configurations: which one counts, and what is said of the others."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from criadapt.errors import InvalidArgument
from criadapt.network.config import VERSIONS, ConfigDir, at_least, parse

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
)
KEYS = ("cniVersion", "cniVersions", "name", "plugins", "type", "disableCheck", "disableGC", "capabilities", "ipam")


def conflist(*types: str, **more: Any) -> dict[str, Any]:
    return {"cniVersion": "1.0.0", "name": "net", "plugins": [{"type": kind} for kind in types], **more}


def write(folder: Path, file: str, content: object) -> None:
    (folder / file).write_text(content if isinstance(content, str) else json.dumps(content))


def test_the_first_file_in_lexical_order_counts_whatever_its_kind(tmp_path: Path) -> None:
    write(tmp_path, "30-c.conflist", conflist("c"))
    write(tmp_path, "20-b.conf", {"cniVersion": "0.4.0", "name": "b", "type": "bridge", "bridge": "b0"})
    write(tmp_path, "10-a.txt", conflist("a"))
    found = ConfigDir(tmp_path).read()
    assert found.config is not None
    assert found.config.name == "b"
    assert found.config.plugins[0].raw["bridge"] == "b0"
    assert found.problems == ()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ([], "the configuration is \\[\\]; it must be an object"),
        ({"name": "net"}, "neither a list"),
        (conflist("a", name="-"), '"name" is "-"'),
        (conflist("a", name=None), '"name" is missing'),
        (conflist(), "at least one plugin"),
        (conflist("a", plugins={}), "at least one plugin"),
        (conflist("a", plugins=["a"]), r'plugins\[0\] is "a"; it must be an object'),
        (conflist("a", ""), r'plugins\[1\].type is ""'),
        (conflist("../a"), r'plugins\[0\].type is "../a"; it must be the file name'),
        (conflist("a", cniVersion="9.0.0"), "cniVersion 9.0.0 is not known; criadapt speaks 0.1.0 to 1.1.0"),
        (conflist("a", disableCheck="maybe"), 'disableCheck is "maybe"'),
        (conflist("a", plugins=[{"type": "a", "capabilities": [1]}]), r"plugins\[0\].capabilities is \[1\]"),
    ],
)
def test_a_file_that_cannot_be_used_is_passed_over_and_told(tmp_path: Path, content: object, said: str) -> None:
    write(tmp_path, "10-bad.conflist", content)
    write(tmp_path, "20-good.conflist", conflist("good"))
    found = ConfigDir(tmp_path).read()
    assert found.config is not None
    assert found.config.plugins[0].type == "good"
    (problem,) = found.problems
    assert problem.startswith(f"{tmp_path}/10-bad.conflist: ")
    with pytest.raises(AssertionError, match=said):
        raise AssertionError(problem)


def test_no_directory_is_an_empty_one(tmp_path: Path) -> None:
    assert ConfigDir(tmp_path / "none").read().config is None


def test_a_directory_that_is_a_file_is_empty_too(tmp_path: Path) -> None:
    write(tmp_path, "file", "x")
    assert ConfigDir(tmp_path / "file").read().config is None


def test_changes_are_seen_without_restart(tmp_path: Path) -> None:
    configs = ConfigDir(tmp_path)
    assert configs.read().config is None
    write(tmp_path, "20.conflist", conflist("one"))
    first = configs.read()
    assert first.config is not None
    assert configs.read() is first  # not read again
    write(tmp_path, "new", conflist("two", name="second"))
    os.replace(tmp_path / "new", tmp_path / "20.conflist")
    second = configs.read().config
    assert second is not None
    assert second.name == "second"
    write(tmp_path, "10.conflist", conflist("three", name="third"))
    third = configs.read().config
    assert third is not None
    assert third.name == "third"
    for file in tmp_path.iterdir():
        file.unlink()
    assert configs.read().config is None


def test_a_dangling_link_is_told(tmp_path: Path) -> None:
    (tmp_path / "10.conflist").symlink_to("/nowhere")
    assert "No such file" in ConfigDir(tmp_path).read().problems[0]


@pytest.mark.parametrize(
    ("declared", "versions"),
    [
        ({"cniVersion": "0.3.1"}, ("0.3.1",)),
        ({"cniVersion": "1.0.0", "cniVersions": ["1.1.0", "0.4.0", "7.0.0"]}, ("1.1.0", "1.0.0", "0.4.0")),
        ({"cniVersion": ""}, ("0.1.0",)),
        ({"cniVersion": None}, ("0.1.0",)),
    ],
)
def test_the_newest_of_the_declared_versions_comes_first(declared: dict[str, Any], versions: tuple[str, ...]) -> None:
    assert parse(conflist("a", **declared), "x").versions == versions


def test_executables_are_those_of_addresses_too() -> None:
    config = parse(conflist("a", plugins=[{"type": "a", "ipam": {"type": "i"}}, {"type": "b"}, {"type": "a"}]), "x")
    assert config.executables == ("a", "i", "b")


def test_what_was_read_can_be_read_again() -> None:
    config = parse({"type": "a", "name": "net", "cniVersion": "0.4.0", "x": {"y": [1]}}, "x")
    assert parse(config.raw, "x") == config


@given(st.dictionaries(st.sampled_from(KEYS), JSON) | JSON)
def test_no_json_is_too_strange(content: object) -> None:
    try:
        config = parse(content, "file")
    except InvalidArgument as error:
        said = str(error)
    else:
        assert config.plugins
        assert config.versions
        assert parse(config.raw, "file") == config
        return
    assert said.startswith("file: ")


@given(st.sampled_from(VERSIONS), st.sampled_from(VERSIONS))
def test_versions_are_ordered_as_numbers_are(one: str, other: str) -> None:
    def numbers(version: str) -> list[int]:
        return [int(part) for part in version.split(".")]

    assert at_least(one, other) == (numbers(one) >= numbers(other))
