"""Image references: one normal form, and nothing that the grammar forbids."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from criadapt.errors import InvalidArgument
from criadapt.model.reference import ImageRef, is_image_id

HEX64 = "0123456789abcdef" * 4
SHA256 = f"sha256:{HEX64}"

# The distribution project's grammar (reference.ReferenceRegexp), written anew from its published form.
_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_PATH = r"[a-z0-9]+(?:(?:[_.]|__|-+)[a-z0-9]+)*"
_DIGEST = r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}"
GRAMMAR = re.compile(rf"(?:{_DOMAIN}/)?{_PATH}(?:/{_PATH})*(?::[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}})?(?:@{_DIGEST})?")

references = st.builds(
    lambda host, path, tail: f"{host}{'/'.join(path)}{tail}",
    st.sampled_from(["", "docker.io/", "index.docker.io/", "localhost/", "a-b.C.io:80/", "[fe80::1]:5/", "a/", "x.y/"]),
    st.tuples(
        # What stands first and has a dot would be taken for a host, and a host has no underscore.
        st.from_regex(r"[a-z0-9]{1,3}((_|__|-{1,3})[a-z0-9]{1,3}){0,2}", fullmatch=True),
        st.lists(st.from_regex(r"[a-z0-9]{1,3}((\.|_|__|-{1,3})[a-z0-9]{1,3}){0,2}", fullmatch=True), max_size=2),
    ).map(lambda parts: [parts[0], *parts[1]]),
    st.sampled_from(["", ":1", ":a_.-", f"@{SHA256}", f":v1@{SHA256}", "@sha512:" + "0" * 128, "@x+y:" + "a" * 40]),
)


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("busybox", "docker.io/library/busybox:latest"),
        ("busybox:1.36", "docker.io/library/busybox:1.36"),
        ("me/busybox", "docker.io/me/busybox:latest"),
        ("docker.io/busybox", "docker.io/library/busybox:latest"),
        ("index.docker.io/busybox", "docker.io/library/busybox:latest"),
        ("registry.k8s.io/pause:3.10", "registry.k8s.io/pause:3.10"),
        ("localhost/x", "localhost/x:latest"),
        ("localhost:5000/a/b:c", "localhost:5000/a/b:c"),
        ("localhost:5000", "docker.io/library/localhost:5000"),
        ("host:443/x", "host:443/x:latest"),
        ("[::1]:5000/x", "[::1]:5000/x:latest"),
        ("a__b/c--d.e_f", "docker.io/a__b/c--d.e_f:latest"),
        ("Registry.Example/x", "Registry.Example/x:latest"),
        (f"busybox@{SHA256}", f"docker.io/library/busybox@{SHA256}"),
        (f"busybox:1@{SHA256}", f"docker.io/library/busybox@{SHA256}"),
        ("a/b@sha512:" + "0" * 128, "docker.io/a/b@sha512:" + "0" * 128),
    ],
)
def test_a_reference_has_one_normal_form(text: str, normal: str) -> None:
    assert str(ImageRef.parse(text)) == normal
    assert ImageRef.parse(normal) == ImageRef.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "/", "a/", "/a", "a//b", ":tag", "a:", "a:b:c", "a@", "a@b", "@" + SHA256, "a@sha256:abc",
        f"a@sha256:{HEX64}0", f"a@sha256:{'A' * 64}", f"a@{SHA256}@{SHA256}", "UPPER", "a/Upper", "a b", "a\n", "\na",
        "-a", "a-", "a..b", "a___b", "a._b", "é", "a:-tag", "a:" + "t" * 129, "host:port/x", "-host.io/x", "a.io:/x",
        "[::1/x", "a.io/" + "x" * 256, "http://a.io/x", "a.io/x?y", "../x", "a/../b", "a:\u0661",
    ],
)  # fmt: skip
def test_what_the_grammar_forbids_is_refused_with_a_reason(text: str) -> None:
    with pytest.raises(InvalidArgument, match=r"image reference .*: .+"):
        ImageRef.parse(text)


def test_a_hostile_reference_does_not_fill_the_message() -> None:
    with pytest.raises(InvalidArgument) as caught:
        ImageRef.parse("A" * 100_000)
    assert len(str(caught.value)) < 1000


@settings(max_examples=60, deadline=None)
@given(references)
def test_what_the_grammar_allows_is_accepted_and_round_trips(text: str) -> None:
    ref = ImageRef.parse(text)
    assert GRAMMAR.fullmatch(text)
    assert ImageRef.parse(str(ref)) == ref
    assert bool(ref.tag) != bool(ref.digest)


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet="abcA09.:/@-_[] \n\0é", max_size=30))
def test_nothing_is_accepted_that_the_grammar_forbids(text: str) -> None:
    try:
        ref = ImageRef.parse(text)
    except InvalidArgument:
        return
    assert GRAMMAR.fullmatch(text)
    assert GRAMMAR.fullmatch(str(ref))


def test_a_digest_algorithm_begins_with_a_letter() -> None:
    with pytest.raises(InvalidArgument):
        ImageRef.parse("a@1x:" + "0" * 32)


@pytest.mark.parametrize("text", [HEX64, SHA256])
def test_an_id_is_never_a_name(text: str) -> None:
    with pytest.raises(InvalidArgument):
        ImageRef.parse(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (HEX64, True),
        (SHA256, True),
        (HEX64[:-1], False),
        (HEX64.upper(), False),
        (f"sha512:{HEX64}", False),
        ("", False),
    ],
)
def test_only_64_hex_digits_are_an_id(text: str, expected: bool) -> None:
    assert is_image_id(text) is expected
