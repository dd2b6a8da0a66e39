"""Images of the mock: what a reference turns into, and what goes wrong on purpose."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

from criadapt.backends.base import EngineImage
from criadapt.backends.mock.catalogue import FAMILIES, content
from criadapt.backends.mock.images import Images
from criadapt.backends.mock.registry import Registry
from criadapt.errors import (
    FailedPrecondition,
    ImageNotFound,
    PullFailed,
    RegistryUnavailable,
    SignatureValidationFailed,
)
from criadapt.journal import Journal
from criadapt.model.image import AuthConfig
from criadapt.model.reference import ImageRef

STAGING = "gcr.io/k8s-staging-cri-tools"
DIGEST = "sha256:9700f9a2f5bf2c45f2f605a0bd3bce7cf37420ec9d3ed50ac2758413308766bf"


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(tmp_path / "mock.sqlite")
    yield journal
    journal.close()


@pytest.fixture
def images(journal: Journal) -> Images:
    return store(journal)


def store(journal: Journal, *, size: int = 0, capacity: int = 1 << 40) -> Images:
    return Images(journal, size=size, capacity=capacity, changed=lambda: None)


def add(images: Images, *texts: str) -> list[EngineImage]:
    ids = [images.add(ImageRef.parse(text), now=1) for text in texts]
    rows = {row.id: row for row in images.rows()}
    return [rows[id] for id in ids]


async def fetch(text: str, auth: AuthConfig | None = None) -> None:
    await Registry(0).fetch(ImageRef.parse(text), auth)


def test_a_tag_gives_one_tag_and_one_digest(images: Images) -> None:
    (image,) = add(images, f"{STAGING}/test-image-tag:test")
    assert image.repo_tags == (f"{STAGING}/test-image-tag:test",)
    assert len(image.repo_digests) == 1
    assert image.repo_digests[0].startswith(f"{STAGING}/test-image-tag@sha256:")
    assert image.size > 0


def test_no_tag_is_latest(images: Images) -> None:
    (image,) = add(images, f"{STAGING}/test-image-latest")
    assert image.repo_tags == (f"{STAGING}/test-image-latest:latest",)


def test_a_digest_is_the_only_name(images: Images) -> None:
    (image,) = add(images, f"{STAGING}/test-image-digest@{DIGEST}")
    assert image.repo_tags == ()
    assert image.repo_digests == (f"{STAGING}/test-image-digest@{DIGEST}",)


def test_the_digest_of_a_known_tag_is_that_image(images: Images) -> None:
    (by_tag,) = add(images, "example.com/app:v1")
    (by_digest,) = add(images, by_tag.repo_digests[0])
    assert by_digest == by_tag


def test_the_digest_of_a_tag_is_known_after_its_image_is_gone(images: Images, journal: Journal) -> None:
    (by_tag,) = add(images, "example.com/app:v1")
    images.remove(by_tag.id, user=None)
    (by_digest,) = add(store(journal), by_tag.repo_digests[0])
    assert by_digest.id == by_tag.id
    assert by_digest.repo_tags == ()


def test_the_digest_of_latest_needs_no_pull_before(images: Images) -> None:
    latest = content("library/busybox", tag="latest")
    (image,) = add(images, f"busybox@{latest.digest}")
    assert image.id == latest.id


def test_the_registry_s_host_does_not_matter(images: Images) -> None:
    one, two = add(images, "registry.k8s.io/pause:3.9", "k8s.gcr.io/pause:3.9")
    assert one == two
    assert one.repo_tags == ("k8s.gcr.io/pause:3.9", "registry.k8s.io/pause:3.9")
    assert len(one.repo_digests) == 2


def test_tags_of_one_content_are_one_image(images: Images) -> None:
    tags = [f"{STAGING}/test-image-tags:{tag}" for tag in (1, 2, 3)]
    first, *others = add(images, *tags)
    assert first.repo_tags == tuple(tags)
    assert others == [first, first]


def test_different_names_are_different_images(images: Images) -> None:
    found = add(images, *(f"{STAGING}/test-image-{n}" for n in (1, 2, 3)), "busybox:1", "busybox:2")
    assert len({image.id for image in found}) == 5


@pytest.mark.parametrize(
    ("name", "user"),
    [("uid", "1002"), ("uid-group", "1003:users"), ("username", "www-data"), ("username-group", "www-data:100")],
)
def test_users_are_what_critest_expects(images: Images, name: str, user: str) -> None:
    (image,) = add(images, f"{STAGING}/test-image-user-{name}")
    assert image.config.user == user


def test_an_image_lists_its_accounts(images: Images) -> None:
    (image,) = add(images, f"{STAGING}/test-image-predefined-group")
    files = images.files(image.id)
    assert b"default-user:x:1000:1000:" in files["/etc/passwd"]
    assert b"group-defined-in-image:x:50000:default-user\n" in files["/etc/group"]


def test_every_account_has_a_group_and_every_name_resolves() -> None:
    for name, family in FAMILIES.items():
        files = content(f"library/{name}", tag="latest").files
        passwd = {line.split(":")[0]: line.split(":") for line in files.get("/etc/passwd", b"").decode().splitlines()}
        gids = {line.split(":")[2] for line in files.get("/etc/group", b"").decode().splitlines()}
        assert {entry[3] for entry in passwd.values()} <= gids, name
        user = family.user.partition(":")[0]
        assert not user or user.isdigit() or user in passwd, name


def test_files_are_shared_between_images_of_a_family(images: Images) -> None:
    one, two = add(images, "busybox:1", "example.com/me/busybox:2")
    assert images.files(one.id) is images.files(two.id)


def test_an_unknown_image_runs_app_and_has_a_size(images: Images) -> None:
    (image,) = add(images, "quay.io/team/service:v3")
    assert image.config.entrypoint == ("app",)
    assert 5 << 20 <= image.size <= 200 << 20


def test_removal_drops_all_names(images: Images) -> None:
    one, _ = add(images, "registry.k8s.io/pause:3.9", "k8s.gcr.io/pause:3.9")
    images.remove(one.id, user=None)
    images.remove(one.id, user=None)
    assert images.rows() == []
    (again,) = add(images, "k8s.gcr.io/pause:3.9")
    assert again.repo_tags == ("k8s.gcr.io/pause:3.9",)
    assert len(again.repo_digests) == 1


def test_a_used_image_stays(images: Images) -> None:
    (image,) = add(images, "busybox")
    with pytest.raises(FailedPrecondition, match="in use by container 'web'"):
        images.remove(image.id, user="web")
    images.remove("sha256:unknown", user="web")


def test_images_are_there_in_the_next_process(images: Images, journal: Journal) -> None:
    add(images, "busybox", "registry.k8s.io/pause:3.9", "k8s.gcr.io/pause:3.9")
    again = store(journal)
    assert sorted(again.rows(), key=lambda row: row.id) == sorted(images.rows(), key=lambda row: row.id)
    with pytest.raises(ImageNotFound):
        again.files("sha256:unknown")


def test_the_disk_can_be_full(journal: Journal) -> None:
    images = store(journal, size=60, capacity=100)
    add(images, "busybox")
    add(images, "busybox")
    with pytest.raises(PullFailed, match="no space left on device"):
        add(images, "alpine")
    assert len(images.rows()) == 1
    assert images.used_bytes == 60


@pytest.mark.parametrize(
    ("how", "kind", "text"),
    [
        ("not-found", PullFailed, "manifest unknown"),
        ("unauthorized", PullFailed, "401 Unauthorized"),
        ("unavailable", RegistryUnavailable, "^RegistryUnavailable: "),
        ("signature", SignatureValidationFailed, "^SignatureValidationFailed: "),
        ("rate-limited", PullFailed, "429 Too Many Requests"),
        ("disk-full", PullFailed, "no space left on device"),
        ("no-such-host", RegistryUnavailable, "no such host"),
        ("oddly", PullFailed, "'oddly'"),
    ],
)
async def test_a_path_can_ask_for_a_failure(how: str, kind: type[PullFailed], text: str) -> None:
    with pytest.raises(kind, match=text) as failure:
        await fetch(f"example.com/fail/{how}/app:v1")
    assert type(failure.value) is kind


async def test_only_a_rule_at_the_beginning_counts() -> None:
    await fetch("example.com/team/fail/not-found")
    await fetch("docker.io/library/fail")
    await fetch("example.com/slow/soon/app")


async def test_a_flaky_image_works_in_the_end() -> None:
    registry, ref = Registry(0), ImageRef.parse("example.com/flaky/2/app")
    for _ in range(2):
        with pytest.raises(PullFailed, match="try again"):
            await registry.fetch(ref, None)
    await registry.fetch(ref, None)
    await registry.fetch(ref, None)


async def test_a_slow_pull_can_be_given_up() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await fetch("example.com/slow/30s/app")
    await fetch("example.com/slow/1ms/app")


async def test_rules_can_be_combined() -> None:
    with pytest.raises(PullFailed, match="authentication required"):
        await fetch("example.com/slow/1ms/private/app")


@pytest.mark.parametrize(
    "auth",
    [
        AuthConfig(username="u", password="p"),
        AuthConfig(username="u", password="p", server_address="https://example.com/v2/"),
        AuthConfig(auth=base64.b64encode(b"user:secret\0\0").decode()),
        AuthConfig(identity_token="t"),
        AuthConfig(registry_token="t"),
    ],
)
async def test_a_private_image_takes_any_credentials(auth: AuthConfig) -> None:
    await fetch("example.com/private/app", auth)


@pytest.mark.parametrize(
    "auth",
    [
        None,
        AuthConfig(),
        AuthConfig(username="u"),
        AuthConfig(auth=base64.b64encode(b"user:").decode()),
        AuthConfig(auth="%%%"),
        AuthConfig(username="u", password="p", server_address="https://other.example.com"),
    ],
)
async def test_a_private_image_takes_no_less(auth: AuthConfig | None) -> None:
    with pytest.raises(PullFailed) as failure:
        await fetch("example.com/private/app", auth)
    assert "secret" not in str(failure.value).replace("pull secret", "")


async def test_docker_hub_has_several_hosts() -> None:
    auth = AuthConfig(username="u", password="p", server_address="https://index.docker.io/v1/")
    await fetch("docker.io/private/app", auth)
