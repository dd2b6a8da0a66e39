"""Images: found by any of their names, pulled once however many ask, kept while in use."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from criadapt.backends.base import ImageConfig
from criadapt.core.images import ImagePolicy, Images, image_ref
from criadapt.core.store import Store
from criadapt.errors import FailedPrecondition, ImageNotFound, InvalidArgument
from criadapt.journal import Journal
from criadapt.model.image import AuthConfig, ImageFilter, ImageSpec
from criadapt.testing.factories import PAUSE, START, FakeEngine, container_record, engine_image

DIGEST = "sha256:" + "d" * 64
ONE = engine_image(
    "1",
    "docker.io/library/busybox:latest",
    "registry.k8s.io/a/b:1",
    repo_digests=(f"docker.io/library/busybox@{DIGEST}",),
)
TWO = engine_image("2", "docker.io/library/abc:latest", id="sha256:" + "2" * 60 + "aaaa")
THREE = engine_image("3", id="sha256:abc" + "3" * 61)  # dangling, and its id begins like TWO's name
FOUR = engine_image("2", id="sha256:" + "2" * 60 + "bbbb")
BARE = engine_image("4", id="4" * 64)  # as engines do that leave out the algorithm
LOCAL = [ONE, TWO, THREE, FOUR, BARE]


@pytest.fixture
def engine() -> FakeEngine:
    engine = FakeEngine()
    engine.local = list(LOCAL)
    return engine


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(Journal(tmp_path / "j")) as journal:
        yield Store(journal)


@pytest.fixture
def images(engine: FakeEngine, store: Store) -> Images:
    return Images(engine, store, ImagePolicy(pause=PAUSE, pinned=("registry.k8s.io/a/*",)))


@pytest.mark.parametrize(
    ("name", "found"),
    [
        (ONE.id, ONE),
        ("1" * 64, ONE),
        ("111", ONE),
        ("sha256:111", ONE),
        ("busybox", ONE),
        ("busybox:latest", ONE),
        ("docker.io/library/busybox:latest", ONE),
        ("index.docker.io/library/busybox", ONE),
        (f"busybox@{DIGEST}", ONE),
        (f"busybox:other@{DIGEST}", ONE),
        ("registry.k8s.io/a/b:1", ONE),
        (TWO.id, TWO),
        ("abc", TWO),  # an exact name goes before an id prefix
        ("abc3", THREE),
        ("4" * 64, BARE),
        ("sha256:" + "4" * 64, BARE),
        ("444", BARE),
        ("11", None),  # too short for a prefix
        ("busybox:2", None),
        ("b", None),
        ("registry.k8s.io/a/b", None),
        (DIGEST, None),  # a manifest's digest alone is no id
        ("0" * 64, None),
        ("NOT A REFERENCE", None),
        ("sha256:", None),
        ("é", None),
    ],
)
async def test_an_image_is_found_by_any_of_its_names(images: Images, name: str, found: object) -> None:
    assert await images.find(name) == found
    assert await images.status(ImageSpec(image=name)) == (
        await images.status(ImageSpec(image=found.id)) if found else None
    )  # type: ignore[attr-defined]


async def test_an_ambiguous_prefix_is_an_error(images: Images) -> None:
    with pytest.raises(InvalidArgument, match="image id '222' is ambiguous"):
        await images.find("222")


async def test_who_needs_an_image_learns_that_it_is_missing(images: Images) -> None:
    with pytest.raises(ImageNotFound, match="image 'nope' not found; pull it first"):
        await images.get("nope")


@pytest.mark.parametrize("spec", [None, ImageSpec(), ImageSpec(user_specified_image="x")])
async def test_an_image_without_a_name_is_refused(images: Images, spec: ImageSpec | None) -> None:
    for call in (images.status(spec), images.pull(spec, None), images.remove(spec)):
        with pytest.raises(InvalidArgument, match=r"image\.image is missing"):
            await call


# ---------------------------------------------------------------------------------------------- lists


@pytest.mark.parametrize("filter", [None, ImageFilter(), ImageFilter(image=ImageSpec())])
async def test_an_empty_filter_lists_everything_once(images: Images, filter: ImageFilter | None) -> None:
    assert [image.id for image in await images.list(filter)] == [image.id for image in LOCAL]


@pytest.mark.parametrize(("name", "count"), [("busybox", 1), ("nope", 0), ("111", 1), ("A B", 0)])
async def test_a_filter_lists_what_status_would_find(images: Images, name: str, count: int) -> None:
    assert len(await images.list(ImageFilter(image=ImageSpec(image=name)))) == count


@pytest.mark.parametrize(
    ("user", "uid", "username"),
    [
        ("", None, ""),
        ("0", 0, ""),
        ("1002", 1002, ""),
        ("1002:5", 1002, ""),
        ("www", None, "www"),
        ("www:x", None, "www"),
    ],
)
async def test_the_images_user_is_a_number_or_a_name(
    images: Images, engine: FakeEngine, user: str, uid: int | None, username: str
) -> None:
    engine.local = [engine_image("1", config=ImageConfig(user=user), size=0)]
    (image,) = await images.list(None)
    assert (image.uid, image.username) == (uid, username)
    assert image.size > 0  # clients refuse an image of size 0


@pytest.mark.parametrize("user", ["²", "99999999999999999999"])
async def test_a_hostile_image_does_not_spoil_the_list(images: Images, engine: FakeEngine, user: str) -> None:
    engine.local = [engine_image("1", config=ImageConfig(user=user))]
    (image,) = await images.list(None)
    assert image.uid is None or image.uid < 2**63


async def test_the_pause_image_and_what_the_policy_names_are_pinned(images: Images, engine: FakeEngine) -> None:
    engine.local = [engine_image("1", PAUSE), engine_image("2", "registry.k8s.io/a/b:1"), engine_image("3", "x.io/y:1")]
    assert [image.pinned for image in await images.list(None)] == [True, True, False]


def test_the_reference_of_an_image_is_a_digest_or_its_id() -> None:
    assert image_ref(ONE) == f"docker.io/library/busybox@{DIGEST}"
    assert image_ref(THREE) == THREE.id


# ---------------------------------------------------------------------------------------------- pull

NEW = "registry.k8s.io/new:1"


async def test_pulls_of_the_same_are_one(images: Images, engine: FakeEngine) -> None:
    gate = engine.hold("pull")
    tasks = [asyncio.ensure_future(images.pull(ImageSpec(image=NEW), None)) for _ in range(3)]
    await gate.reached.wait()
    gate.open()
    assert len(set(await asyncio.gather(*tasks))) == 1
    assert engine.called("pull") == [NEW]


async def test_pulls_with_different_credentials_are_apart(images: Images, engine: FakeEngine) -> None:
    auths = [None, AuthConfig(username="a"), AuthConfig(username="b"), AuthConfig(username="b")]
    await asyncio.gather(*(images.pull(ImageSpec(image=NEW), auth) for auth in auths))
    assert engine.called("pull") == [NEW] * 3


async def test_a_pull_always_asks_the_registry(images: Images, engine: FakeEngine) -> None:
    await images.pull(ImageSpec(image="busybox"), None)
    assert engine.called("pull") == ["docker.io/library/busybox:latest"]


async def test_the_last_who_gives_up_stops_the_pull(images: Images, engine: FakeEngine) -> None:
    gate = engine.hold("pull")
    task = asyncio.ensure_future(images.pull(ImageSpec(image=NEW), None))
    await gate.reached.wait()
    task.cancel()
    await asyncio.wait([task])
    await images.close()
    assert await images.find(NEW) is None


@pytest.mark.parametrize(("name", "text"), [("1" * 64, "is an id"), (ONE.id, "is an id"), ("A B", "image reference")])
async def test_only_references_can_be_pulled(images: Images, name: str, text: str) -> None:
    with pytest.raises(InvalidArgument, match=text):
        await images.pull(ImageSpec(image=name), None)


@pytest.mark.parametrize(
    ("server", "image", "sent"),
    [
        ("", "x.io/y", True),
        ("x.io", "x.io/y", True),
        ("https://x.io/v1/", "x.io/y", True),
        ("http://x.io:5000", "x.io:5000/y", True),
        ("https://index.docker.io/v1/", "busybox", True),
        ("registry-1.docker.io", "busybox", True),
        ("docker.io", "busybox", True),
        ("https://y.io", "x.io/y", False),
        ("x.io:5000", "x.io/y", False),
        ("https://index.docker.io/v1/", "x.io/y", False),
        ("https://x.io.evil.example/", "x.io/y", False),
    ],
)
async def test_credentials_go_to_their_own_registry_only(
    images: Images, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch, server: str, image: str, sent: bool
) -> None:
    seen: list[AuthConfig | None] = []

    async def pull(ref: object, auth: AuthConfig | None) -> str:
        seen.append(auth)
        return "id"

    monkeypatch.setattr(engine, "pull", pull)
    auth = AuthConfig(username="me", password="secret", server_address=server)
    await images.pull(ImageSpec(image=image), auth)
    assert seen == [auth if sent else None]


async def test_ensuring_pulls_what_is_missing_only(images: Images, engine: FakeEngine) -> None:
    assert (await images.ensure("busybox")).id == ONE.id
    assert engine.called("pull") == []
    assert NEW in (await images.ensure(NEW)).repo_tags
    assert engine.called("pull") == [NEW]


# ---------------------------------------------------------------------------------------------- remove


@pytest.mark.parametrize("name", ["busybox", ONE.id, "111", f"busybox@{DIGEST}"])
async def test_an_image_is_removed_by_any_of_its_names_with_all_of_them(
    images: Images, engine: FakeEngine, name: str
) -> None:
    await images.remove(ImageSpec(image=name))
    assert engine.called("remove_image") == [ONE.id]
    assert await images.find("registry.k8s.io/a/b:1") is None


@pytest.mark.parametrize("name", ["nope", "0" * 64, "sha256:" + "0" * 64, "fff"])
async def test_removing_what_is_not_there_succeeds(images: Images, engine: FakeEngine, name: str) -> None:
    await images.remove(ImageSpec(image=name))
    assert engine.called("remove_image") == []


async def test_a_wrong_name_is_an_error_all_the_same(images: Images) -> None:
    with pytest.raises(InvalidArgument):
        await images.remove(ImageSpec(image="A B"))


async def test_removals_at_the_same_time_all_succeed_and_see_it_gone(images: Images, engine: FakeEngine) -> None:
    async def remove() -> object:
        await images.remove(ImageSpec(image=ONE.id))
        return await images.find(ONE.id)

    assert await asyncio.gather(*(remove() for _ in range(5))) == [None] * 5
    assert engine.called("remove_image") == [ONE.id]


@pytest.mark.parametrize(
    ("times", "refused"),
    [({}, True), ({"started_at": START}, True), ({"started_at": START, "finished_at": START + 1}, False)],
)
async def test_an_image_in_use_stays(images: Images, store: Store, times: dict[str, int], refused: bool) -> None:
    store.put_container(container_record(image_id=ONE.id, **times))
    if refused:
        with pytest.raises(FailedPrecondition, match=r"is used by container 'c1'; remove the container first"):
            await images.remove(ImageSpec(image="busybox"))
    else:
        await images.remove(ImageSpec(image="busybox"))
    assert (await images.find("busybox") is not None) is refused
