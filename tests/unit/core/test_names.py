"""Engine names: accepted by every engine, unique for what they stand for; labels: read back after a lost journal."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from criadapt.core import names
from criadapt.model.container import ContainerMetadata
from criadapt.model.sandbox import PodSandboxMetadata

pods = st.builds(PodSandboxMetadata, name=st.text(), uid=st.text(), namespace=st.text(), attempt=st.integers(0, 9))
containers = st.builds(ContainerMetadata, name=st.text(), attempt=st.integers(0, 9))


@settings(max_examples=60, deadline=None)
@given(pods, containers)
def test_every_engine_accepts_the_names(pod: PodSandboxMetadata, container: ContainerMetadata) -> None:
    for name in (names.infra_name(pod), names.container_name("s" * 64, pod, container)):
        assert re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}", name)


def test_names_can_be_read() -> None:
    pod = PodSandboxMetadata(name="web", uid="u1", namespace="default", attempt=2)
    assert names.infra_name(pod).startswith("k8s_POD_default_web_u1_2_")
    assert names.container_name("s1", pod, ContainerMetadata(name="app")).startswith("k8s_app_default_web_u1_2_")


@pytest.mark.parametrize(
    "other",
    [
        PodSandboxMetadata(name="b_a", uid="u", namespace="ns", attempt=1),
        PodSandboxMetadata(name="a", uid="u", namespace="ns_b", attempt=1),
        PodSandboxMetadata(name="b-a", uid="u", namespace="ns", attempt=0),
        PodSandboxMetadata(name="b-a", uid="", namespace="ns", attempt=1),
        PodSandboxMetadata(name="b-a" + "x" * 300, uid="u", namespace="ns", attempt=1),
    ],
)
def test_what_reads_alike_is_still_told_apart(other: PodSandboxMetadata) -> None:
    pod = PodSandboxMetadata(name="b-a", uid="u", namespace="ns", attempt=1)
    assert names.infra_name(pod) != names.infra_name(other)


def test_a_container_called_like_the_infra_one_is_told_apart() -> None:
    pod = PodSandboxMetadata(name="web", namespace="ns")
    assert names.container_name("s1", pod, ContainerMetadata(name="POD")) != names.infra_name(pod)


def test_labels_say_what_a_container_is() -> None:
    pod = PodSandboxMetadata(name="web", uid="u1", namespace="ns", attempt=2)
    assert names.sandbox_labels(pod) == {names.KIND: "sandbox", names.POD: "ns/u1/2/web"}
    assert names.container_labels("s1", pod, ContainerMetadata(name="app", attempt=1)) == {
        names.KIND: "container",
        names.SANDBOX: "s1",
        names.POD: "ns/u1/2/web",
        names.CONTAINER: "1/app",
    }


@settings(max_examples=40, deadline=None)
@given(st.text(min_size=1), st.text(alphabet="abc-.0"), st.text(alphabet="abc-.0"), st.integers(0, 2**32 - 1))
def test_metadata_comes_back_from_the_labels(name: str, uid: str, namespace: str, attempt: int) -> None:
    pod = PodSandboxMetadata(name=name, uid=uid, namespace=namespace, attempt=attempt)
    container = ContainerMetadata(name=name, attempt=attempt)
    labels = names.container_labels("s1", pod, container)
    assert names.adopted_pod(labels[names.POD]) == pod
    assert names.adopted_container(labels[names.CONTAINER]) == container


@pytest.mark.parametrize("label", ["", "/", "a", "a/b", "a/b/x", "//", "///"])
def test_a_damaged_label_still_gives_a_name(label: str) -> None:
    assert names.adopted_pod(label).name == "unknown"
    assert names.adopted_container(label.replace("a", "")).name
