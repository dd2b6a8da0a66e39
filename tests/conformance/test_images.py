"""Images: pulled, listed, found by any name, removed with all of their names."""

import asyncio
from pathlib import Path

import grpc
import pytest

from criadapt.backends.mock import MockOptions
from criadapt.cri.v1 import api_pb2 as pb
from criadapt.testing.factories import BUSYBOX
from criadapt.testing.inprocess import InProcess, refused, serving_inprocess

INVALID = grpc.StatusCode.INVALID_ARGUMENT
UNKNOWN = grpc.StatusCode.UNKNOWN
CRITEST = "gcr.io/k8s-staging-cri-tools/"


async def pull(server: InProcess, image: str, **fields: object) -> str:
    return str((await server.rpc.PullImage(image={"image": image}, **fields)).image_ref)


async def status(server: InProcess, image: str) -> pb.Image | None:
    answer = await server.rpc.ImageStatus(image={"image": image})
    return answer.image if answer.HasField("image") else None


async def images(server: InProcess) -> dict[str, pb.Image]:
    return {image.id: image for image in (await server.rpc.ListImages()).images}


# ------------------------------------------------------------------ names


async def test_a_tag_is_the_only_name_of_what_was_pulled_by_it(server: InProcess) -> None:
    ref = CRITEST + "test-image-tag:test"
    image = await status(server, await pull(server, ref))
    assert list(image.repo_tags) == [ref]
    assert len(image.repo_digests) == 1
    assert image.repo_digests[0].startswith(CRITEST + "test-image-tag@sha256:")


async def test_no_tag_means_latest(server: InProcess) -> None:
    image = await status(server, await pull(server, CRITEST + "test-image-latest"))
    assert list(image.repo_tags) == [CRITEST + "test-image-latest:latest"]


async def test_a_digest_gives_no_tag(server: InProcess) -> None:
    ref = CRITEST + "test-image-digest@sha256:" + "ab" * 32
    image = await status(server, await pull(server, ref))
    assert list(image.repo_tags) == []
    assert list(image.repo_digests) == [ref]


async def test_a_tag_beside_a_digest_is_ignored(server: InProcess) -> None:
    digest = "@sha256:" + "ab" * 32
    image = await status(server, await pull(server, CRITEST + "test-image-digest:tag" + digest))
    assert list(image.repo_digests) == [CRITEST + "test-image-digest" + digest]
    assert list(image.repo_tags) == []


async def test_a_digest_leads_to_what_its_tag_brought(server: InProcess) -> None:
    id = await pull(server, CRITEST + "test-image-tag:test")
    assert await pull(server, (await status(server, id)).repo_digests[0]) == id


async def test_every_name_gives_the_very_same_status(server: InProcess) -> None:
    id = await pull(server, "nginx")
    image = await status(server, id)
    names = [*image.repo_tags, *image.repo_digests, id, id.removeprefix("sha256:"), id[:20], id[7:19], "nginx"]
    names += ["nginx:latest", "library/nginx", "docker.io/nginx"]
    for name in names:
        assert await status(server, name) == image, name


async def test_short_names_mean_docker_s_hub(server: InProcess) -> None:
    image = await status(server, await pull(server, "me/app"))
    assert list(image.repo_tags) == ["docker.io/me/app:latest"]


async def test_one_id_everywhere(server: InProcess) -> None:
    ref = await pull(server, "nginx")
    assert (await status(server, "nginx")).id == ref
    assert ref in await images(server)
    app = await server.run(await server.run_pod(), image={"image": ref}, command=[])
    assert (await server.container(app)).image_id == ref
    (row,) = (await server.rpc.ListContainers()).containers
    assert row.image_id == ref


async def test_the_same_content_in_two_registries_is_one_image(server: InProcess) -> None:
    refs = ["registry.k8s.io/pause:3.9", "k8s.gcr.io/pause:3.9"]
    one, two = [await pull(server, ref) for ref in refs]
    assert one == two
    assert sorted((await status(server, one)).repo_tags) == sorted(refs)


async def test_three_tags_of_one_image(server: InProcess) -> None:
    refs = [f"{CRITEST}test-image-tags:{number}" for number in (1, 2, 3)]
    ids = {await pull(server, ref) for ref in refs}
    assert len(ids) == 1
    assert sorted((await status(server, ids.pop())).repo_tags) == refs


async def test_three_images_are_three_rows(server: InProcess) -> None:
    before = await images(server)
    ids = {await pull(server, f"{CRITEST}test-image-{number}:latest") for number in (1, 2, 3)}
    assert set(await images(server)) - set(before) == ids
    assert len(ids) == 3


@pytest.mark.parametrize(
    ("name", "uid", "username"),
    [
        ("test-image-user-uid", 1002, ""),
        ("test-image-user-uid-group", 1003, ""),
        ("test-image-user-username", None, "www-data"),
        ("test-image-user-username-group", None, "www-data"),
        ("test-image-tag", None, ""),
    ],
)
async def test_the_image_s_user_is_a_number_or_a_name(
    server: InProcess, name: str, uid: int | None, username: str
) -> None:
    image = await status(server, await pull(server, CRITEST + name))
    assert (image.uid.value if image.HasField("uid") else None) == uid
    assert image.username == username


async def test_sizes_are_positive_and_make_up_the_disk_usage(server: InProcess) -> None:
    await pull(server, "nginx")
    sizes = [image.size for image in (await images(server)).values()]
    assert min(sizes) > 0
    (usage,) = (await server.rpc.ImageFsInfo()).image_filesystems
    assert usage.used_bytes.value == sum(sizes)


# ------------------------------------------------------------------ list and status


async def test_the_filter_finds_what_the_status_finds(server: InProcess) -> None:
    id = await pull(server, "nginx")
    for name, expected in (("nginx", [id]), (id, [id]), (id[:15], [id]), ("absent", []), ("not a ref!", [])):
        found = await server.rpc.ListImages(filter={"image": {"image": name}})
        assert [image.id for image in found.images] == expected, name
    assert len((await server.rpc.ListImages(filter={})).images) == 3
    assert len((await server.rpc.ListImages(filter={"image": {}})).images) == 3


@pytest.mark.parametrize("name", ["absent", "0" * 64, "sha256:" + "0" * 64, "UPPER/case", "white space", "@", "a@b"])
async def test_an_image_that_is_not_there_is_not_an_error(server: InProcess, name: str) -> None:
    answer = await server.rpc.ImageStatus(image={"image": name}, verbose=True)
    assert not answer.HasField("image")


async def test_a_status_needs_a_name(server: InProcess) -> None:
    for request in ({}, {"image": {}}, {"image": {"image": ""}}):
        with refused(INVALID, saying="image.image"):
            await server.rpc.ImageStatus(**request)


async def test_details_are_told_only_when_asked(server: InProcess) -> None:
    assert not (await server.rpc.ImageStatus(image={"image": BUSYBOX})).info
    assert (await server.rpc.ImageStatus(image={"image": BUSYBOX}, verbose=True)).info["info"].startswith("{")


async def test_the_pause_image_is_pinned_and_others_are_not(server: InProcess) -> None:
    pinned = {image.repo_tags[0]: image.pinned for image in (await images(server)).values()}
    assert pinned == {BUSYBOX: False, "registry.k8s.io/pause:3.10": True}


# ------------------------------------------------------------------ pull


async def test_a_pulled_image_is_there_at_once(server: InProcess) -> None:
    for number in range(10):
        id = await pull(server, f"example.com/app:{number}")
        assert id in await images(server)
        assert await status(server, id) is not None


async def test_pulling_again_is_success(server: InProcess) -> None:
    assert await pull(server, BUSYBOX) == await pull(server, BUSYBOX)


async def test_a_sandbox_config_is_neither_needed_nor_complete(server: InProcess) -> None:
    assert await pull(server, "nginx", sandbox_config={"labels": {"a": "b"}})


@pytest.mark.parametrize("name", ["", "UPPER", "white space", "a:b:c", "@sha256:abc", "x@sha256:short", "-", "a//b"])
async def test_a_name_that_is_none_is_refused(server: InProcess, name: str) -> None:
    for call in ("PullImage", "RemoveImage"):
        with refused(INVALID):
            await getattr(server.rpc, call)(image={"image": name})


@pytest.mark.parametrize("name", ["sha256:" + "a" * 64, "a" * 64])
async def test_an_id_cannot_be_pulled(server: InProcess, name: str) -> None:
    with refused(INVALID, saying="is an id"):
        await pull(server, name)


@pytest.mark.parametrize(
    ("how", "prefix"),
    [
        ("unavailable", "RegistryUnavailable"),
        ("no-such-host", "RegistryUnavailable"),
        ("signature", "SignatureValidationFailed"),
        ("not-found", ""),
        ("unauthorized", ""),
    ],
)
async def test_failures_come_in_the_words_kubelet_looks_for(server: InProcess, how: str, prefix: str) -> None:
    before = await images(server)
    with refused(UNKNOWN) as caught:
        await pull(server, f"example.com/fail/{how}")
    assert caught.value.details().startswith(prefix)
    assert await images(server) == before


async def test_the_caller_s_deadline_ends_the_pull(server: InProcess) -> None:
    before = server.traces()
    images_before = await images(server)
    with refused(grpc.StatusCode.DEADLINE_EXCEEDED):
        await pull(server, "example.com/slow/30s/app", deadline=0.05)
    await server.leaves(before)
    assert await images(server) == images_before


async def test_a_millisecond_is_not_enough(server: InProcess) -> None:
    with refused(grpc.StatusCode.DEADLINE_EXCEEDED):
        await pull(server, "example.com/slow/5s/app", deadline=0.001)


@pytest.mark.parametrize(
    "auth",
    [
        {"username": "me", "password": "secret"},
        {"identity_token": "token"},
        {"registry_token": "token"},
        {"auth": "bWU6c2VjcmV0"},
        {"username": "me", "password": "secret", "server_address": "https://example.com/v1/"},
    ],
)
async def test_credentials_in_any_form_open_a_private_registry(server: InProcess, auth: dict[str, str]) -> None:
    assert await pull(server, "example.com/private/app", auth=auth)


@pytest.mark.parametrize(
    "auth", [None, {}, {"username": "me", "password": "s3cr3t", "server_address": "https://elsewhere.example"}]
)
async def test_nobody_else_s_credentials_are_used(server: InProcess, auth: dict[str, str] | None) -> None:
    fields = {} if auth is None else {"auth": auth}
    with refused(UNKNOWN, saying="401") as caught:
        await pull(server, "example.com/private/app", **fields)
    assert "s3cr3t" not in caught.value.details()


async def test_pulls_of_the_same_share_one_transfer(server: InProcess) -> None:
    server.backend.calls.clear()
    gate = server.backend.hold("pull")
    pulls = [asyncio.ensure_future(pull(server, "example.com/app")) for _ in range(5)]
    await gate.reached.wait()
    await server.rpc.Version()  # the others have arrived
    gate.open()
    assert len(set(await asyncio.gather(*pulls))) == 1
    assert server.backend.calls["pull"] == 1


async def test_pulls_of_different_images_do_not_wait_for_each_other(server: InProcess) -> None:
    gate = server.backend.hold("pull", match="slow")
    slow = asyncio.ensure_future(pull(server, "example.com/slow:1"))
    await gate.reached.wait()
    assert await pull(server, "example.com/quick:1")
    assert not slow.done()
    gate.open()
    await slow


# ------------------------------------------------------------------ remove


@pytest.mark.parametrize("by", ["id", "tag", "digest"])
async def test_removing_by_any_name_removes_all_of_them(server: InProcess, by: str) -> None:
    refs = ["registry.k8s.io/pause:3.9", "k8s.gcr.io/pause:3.9"]
    for ref in refs:
        id = await pull(server, ref)
    image = await status(server, id)
    await server.rpc.RemoveImage(image={"image": {"id": id, "tag": refs[0], "digest": image.repo_digests[1]}[by]})
    for name in (id, *image.repo_tags, *image.repo_digests):
        assert await status(server, name) is None
    assert id not in await images(server)
    assert await pull(server, refs[1]) == id
    assert list((await status(server, id)).repo_tags) == [refs[1]]
    assert len((await status(server, id)).repo_digests) == 1  # nothing stale


@pytest.mark.parametrize("name", ["0" * 64, "sha256:" + "0" * 64, "absent", "example.com/absent:1"])
async def test_removing_what_is_not_there_is_success(server: InProcess, name: str) -> None:
    for _ in range(2):
        await server.rpc.RemoveImage(image={"image": name})


async def test_simultaneous_removals_all_see_it_gone(server: InProcess) -> None:
    id = await pull(server, "nginx")

    async def remove() -> None:
        await server.rpc.RemoveImage(image={"image": id})
        assert await status(server, id) is None

    await asyncio.gather(*(remove() for _ in range(5)))


async def test_an_image_in_use_stays(server: InProcess) -> None:
    pod = await server.run_pod()
    app = await server.run(pod)
    with refused(grpc.StatusCode.FAILED_PRECONDITION, saying=app[:13]):
        await server.rpc.RemoveImage(image={"image": BUSYBOX})
    await server.rpc.RemoveContainer(container_id=app)
    await server.rpc.RemoveImage(image={"image": BUSYBOX})
    assert await status(server, BUSYBOX) is None


async def test_an_image_in_use_as_a_volume_stays(server: InProcess) -> None:
    id = await pull(server, "nginx")
    mount = {"container_path": "/vol", "image": {"image": id}, "readonly": True}
    await server.run(await server.run_pod(), mounts=[mount])
    with refused(grpc.StatusCode.FAILED_PRECONDITION):
        await server.rpc.RemoveImage(image={"image": id})


async def test_a_full_disk_is_said(tmp_path: Path) -> None:
    async with serving_inprocess(tmp_path, options=MockOptions(image_size=10, disk_size=25)) as server:
        await pull(server, "one")
        await pull(server, "two")
        with refused(UNKNOWN, saying="no space left"):
            await pull(server, "three")
        await server.rpc.RemoveImage(image={"image": "one"})
        await pull(server, "three")
