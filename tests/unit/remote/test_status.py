"""How a remote command ended, on the error stream."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from criadapt.remote.protocols import OVER_SPDY, OVER_WEBSOCKET, V1, V2, V3, V4, WS_V1, WS_V4, WS_V5, Version
from criadapt.remote.status import Outcome, decode, encode

ALL = [*OVER_SPDY.values(), *OVER_WEBSOCKET.values()]
JSON = [version for version in ALL if version.json]
TEXT = [version for version in ALL if not version.json]


def failure(**fields: object) -> bytes:
    return json.dumps({"metadata": {}, "status": "Failure", **fields}).encode()


def exit_code(code: object, reason: str = "NonZeroExitCode") -> bytes:
    causes = [{"reason": "Other", "message": "x"}, {"reason": "ExitCode", "message": code}]
    return failure(message="it failed", reason=reason, details={"causes": causes})


def test_versions_since_the_fourth_speak_json() -> None:
    assert {version.name for version in JSON} == {
        "v4.channel.k8s.io",
        "v4.base64.channel.k8s.io",
        "v5.channel.k8s.io",
    }
    assert {version.name for version in TEXT} == {
        "channel.k8s.io",
        "v2.channel.k8s.io",
        "v3.channel.k8s.io",
        "base64.channel.k8s.io",
    }


@pytest.mark.parametrize("version", JSON)
def test_success_is_a_status_too(version: Version) -> None:
    assert encode(version, Outcome(0)) == b'{"metadata":{},"status":"Success"}'


@pytest.mark.parametrize("version", JSON)
def test_an_exit_code_is_a_cause_whose_kind_is_called_reason(version: Version) -> None:
    assert json.loads(encode(version, Outcome(7))) == {
        "metadata": {},
        "status": "Failure",
        "message": "command terminated with non-zero exit code: exit code 7",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": "7"}]},
    }


@pytest.mark.parametrize("version", JSON)
def test_a_command_that_did_not_run_is_an_internal_error(version: Version) -> None:
    text = "Internal error occurred: error executing command in container: no such file"
    assert json.loads(encode(version, Outcome(None, text))) == {
        "metadata": {},
        "status": "Failure",
        "message": text,
        "reason": "InternalError",
        "code": 500,
    }
    assert json.loads(encode(version, Outcome(None)))["message"] == "unknown error"


@pytest.mark.parametrize("version", TEXT)
def test_before_json_only_failures_are_told(version: Version) -> None:
    assert encode(version, Outcome(0)) == b""
    assert encode(version, Outcome(7)) == b"command terminated with non-zero exit code: exit code 7"
    assert encode(version, Outcome(None, "no such file: ü")) == "no such file: ü".encode()
    assert encode(version, Outcome(None)) == b"unknown error"


@pytest.mark.parametrize(("code", "seen"), [(255, "255"), (-1, "255"), (-9, "247"), (300, "44")])
def test_clients_get_exit_codes_in_eight_bits(code: int, seen: str) -> None:
    status = json.loads(encode(V4, Outcome(code)))
    assert status["details"]["causes"][0]["message"] == seen
    assert status["message"].endswith(f"exit code {code}")


@pytest.mark.parametrize("version", JSON)
@pytest.mark.parametrize("code", [0, 1, 126, 137, 255])
def test_an_exit_code_comes_back(version: Version, code: int) -> None:
    assert decode(version, encode(version, Outcome(code))).exit_code == code


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(JSON), st.text(min_size=1, max_size=100))
def test_a_message_comes_back(version: Version, message: str) -> None:
    try:
        encoded = encode(version, Outcome(None, message))
    except UnicodeEncodeError:
        assert any("\ud800" <= character <= "\udfff" for character in message)
        return
    assert decode(version, encoded) == Outcome(None, message)


@pytest.mark.parametrize("version", TEXT)
def test_text_is_a_failure_and_silence_is_success(version: Version) -> None:
    assert decode(version, b"") == Outcome(0)
    assert decode(version, b"it broke") == Outcome(None, "it broke")
    assert decode(version, b"\xff") == Outcome(None, "�")
    assert decode(version, b'{"status":"Success"}').exit_code is None


@pytest.mark.parametrize("version", JSON)
def test_silence_is_a_failure_where_a_status_is_always_sent(version: Version) -> None:
    assert decode(version, b"") == Outcome(None, "the connection was lost before the command ended")


@pytest.mark.parametrize(
    "data",
    [
        b'{"status":"Success"}',
        b'{"metadata":{},"status":"Success"}',
        b'{"kind":"Status","apiVersion":"v1","metadata":{"x":[1]},"status":"Success","code":200}\n',
    ],
)
def test_success_is_understood_from_any_release(data: bytes) -> None:
    assert decode(WS_V5, data) == Outcome(0)


def test_a_go_servers_exit_code_is_understood() -> None:
    data = (
        b'{"metadata":{},"status":"Failure","message":"command terminated with non-zero exit code: exit status 7",'
        b'"reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"7"}]}}'
    )
    assert decode(V4, data) == Outcome(7, "command terminated with non-zero exit code: exit status 7")
    assert decode(WS_V4, exit_code("255")) == Outcome(255, "it failed")


@pytest.mark.parametrize(
    "code", ["", "0", "256", "-1", "+1", " 7", "7 ", "7x", "0x7", "٧", "²", "1" * 20, "9" * 5000], ids=ascii
)
def test_an_exit_code_that_a_failure_cannot_have_is_none(code: str) -> None:
    assert decode(V4, exit_code(code)) == Outcome(None, "it failed")


def test_a_failure_without_an_exit_code_has_its_message() -> None:
    assert decode(V4, exit_code("7", reason="InternalError")) == Outcome(None, "it failed")
    assert decode(V4, failure(message="no details", reason="NonZeroExitCode")) == Outcome(None, "no details")
    assert decode(V4, failure(reason="NonZeroExitCode", details={})) == Outcome(None, "the server gave no reason")
    assert decode(V4, b'{"status":"odd","message":"m"}') == Outcome(None, "m")


@pytest.mark.parametrize(
    "data",
    [
        b"{",
        b"plain text",
        b"null",
        b"[]",
        b"7",
        b"{}",
        b'{"status":1}',
        b'{"status":"Success"',
        b'{"status":"Success"} x',
        b'{"status":"\xff"}',
        b"\xff\xfe",
        b'{"status":"Failure","details":{"causes":7}}',
        b'{"status":"Failure","x":' + b"[" * 100_000,
        b'{"status":"Failure","details":' + b'{"causes":' * 100_000,
        exit_code(7),
    ],
    ids=lambda data: ascii(data[:44]),
)
def test_what_is_no_status_is_a_failure_that_shows_it(data: bytes) -> None:
    outcome = decode(V4, data)
    assert outcome.exit_code is None
    assert outcome.message == f"the server sent no valid status: {data[:200].decode('utf-8', 'replace')}"


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(ALL), st.binary(max_size=100) | st.text(alphabet='{}[]":,0aeStatus', max_size=60).map(str.encode)
)
def test_garbage_is_never_success_where_json_is_due(version: Version, data: bytes) -> None:
    outcome = decode(version, data)
    if outcome.exit_code == 0:
        assert b'"Success"' in data if version.json else not data
    assert outcome.exit_code in (0, None)


def test_what_each_version_can_do() -> None:
    assert [version.resize for version in (V1, V2, V3, V4)] == [False, False, True, True]
    assert [version.stdin_ends for version in (V1, V2, WS_V1, WS_V4, WS_V5)] == [False, True, False, False, True]
    assert list(OVER_SPDY) == ["v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io"]
