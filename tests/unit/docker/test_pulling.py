"""What an engine says of a pull that failed, and who it is told that pulls."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from criadapt.backends.docker.credentials import credentials, header
from criadapt.backends.docker.pulling import Progress, failure
from criadapt.errors import PullFailed, RegistryUnavailable
from criadapt.model.image import AuthConfig
from criadapt.model.reference import ImageRef

REF = ImageRef.parse("registry.test/team/app:1")
SECRET = AuthConfig(username="user", password="open-sesame")


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("manifest for registry.test/team/app:1 not found: manifest unknown: manifest unknown", "check the name and"),
        ('Head "https://registry.test/v2/team/app/manifests/1": no basic auth credentials', "docker login"),
        ("unauthorized: authentication required", "docker login registry.test"),
        ("pull access denied for team/app, repository does not exist or may require 'docker login'", "check the name"),
        ("denied: requested access to the resource is denied", "docker login"),
        ("toomanyrequests: You have reached your pull rate limit.", "or wait"),
        ("failed to register layer: write /usr/lib/x: no space left on device", "remove unused images"),
        ("no matching manifest for linux/amd64 in the manifest list entries: not found", "for this platform"),
        ('Get "https://registry.test/v2/": http: server gave HTTP response to HTTPS client', "insecure-registries"),
        ('Get "https://registry.test/v2/": x509: certificate signed by unknown authority', "certs.d/registry.test"),
        ("something that nobody has ever seen", "ever seen"),
    ],
)
def test_a_failure_says_what_to_do(text: str, advice: str) -> None:
    error = failure(REF, text, None)
    assert type(error) is PullFailed
    assert str(error).startswith("image 'registry.test/team/app:1': ")
    assert advice in str(error)


@pytest.mark.parametrize(
    "text",
    [
        'Get "https://registry.test/v2/": dial tcp 10.0.0.1:443: connect: connection refused',
        "dial tcp: lookup registry.test on 10.0.0.2:53: no such host",
        "dial tcp 10.0.0.1:443: i/o timeout",
        "net/http: request canceled while waiting for connection (Client.Timeout exceeded while awaiting headers)",
        "net/http: TLS handshake timeout",
        "received unexpected HTTP status: 503 Service Unavailable",
        "unexpected EOF",
    ],
)
def test_a_registry_that_cannot_be_reached_is_unavailable(text: str) -> None:
    assert isinstance(failure(REF, text, SECRET), RegistryUnavailable)


def test_the_name_of_an_image_is_no_cause() -> None:
    ref = ImageRef.parse("denied.test/timeout/x509:1")
    error = failure(ref, "manifest for denied.test/timeout/x509:1 not found", None)
    assert "check the name and the tag" in str(error)


def test_secrets_are_in_no_message() -> None:
    text = 'Get "https://blobs.test/layer?signature=let-me-in": open-sesame is wrong'
    shown = str(failure(REF, text, SECRET))
    assert "let-me-in" not in shown
    assert "open-sesame" not in shown


@pytest.mark.parametrize(
    ("auth", "expected"),
    [
        (SECRET, {"username": "user", "password": "open-sesame"}),
        (AuthConfig(identity_token="a", registry_token="b"), {"identitytoken": "a"}),
        (AuthConfig(registry_token="b"), {"registrytoken": "b"}),
        (AuthConfig(auth="dTpwOjE="), {"username": "u", "password": "p:1"}),
    ],
    ids=["user and password", "identity token", "registry token", "encoded, with a colon in the password"],
)
async def test_the_engine_is_told_who_pulls(auth: AuthConfig, expected: dict[str, Any]) -> None:
    found = header(REF, await credentials(REF, auth))
    decoded = json.loads(base64.urlsafe_b64decode(found["X-Registry-Auth"]))
    assert decoded == {**expected, "serveraddress": "registry.test"}


async def test_docker_hub_has_an_address_of_its_own() -> None:
    found = header(ImageRef.parse("busybox"), SECRET)
    decoded = json.loads(base64.urlsafe_b64decode(found["X-Registry-Auth"]))
    assert decoded["serveraddress"] == "https://index.docker.io/v1/"


@pytest.mark.parametrize("text", ["!not base64!", "bm90LWEtcGFpcg==", "/////w=="])
async def test_a_malformed_auth_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(PullFailed) as caught:
        await credentials(REF, AuthConfig(auth=text))
    assert text not in str(caught.value)


def test_nobody_in_particular_needs_no_header() -> None:
    assert header(REF, None) == {}


def test_only_what_is_new_is_progress() -> None:
    progress = Progress()
    line = b'{"status":"Downloading","progressDetail":{"current":%d,"total":9},"id":"%s"}'
    lines = [line % (1, b"a"), line % (1, b"b"), line % (1, b"a"), line % (2, b"a"), b'{"status":"Waiting","id":"a"}']
    assert [progress.made(line) for line in lines] == [True, True, False, True, True]
    assert progress.last == "Waiting a"


@pytest.mark.parametrize("line", [b'{"error":"because"}', b'{"errorDetail":{"message":"because"}}', b"because"])
def test_a_report_may_be_an_error(line: bytes) -> None:
    with pytest.raises(PullFailed, match="because"):
        Progress().made(line)
