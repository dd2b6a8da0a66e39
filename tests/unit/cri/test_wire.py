"""Parts joined by hand are what the real encoder writes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from criadapt.cri.v1 import api_pb2 as pb
from criadapt.cri.wire import integer_field, message_field, varint


@pytest.mark.parametrize(
    ("number", "encoded"),
    [
        (0, b"\0"),
        (1, b"\x01"),
        (127, b"\x7f"),
        (128, b"\x80\x01"),
        (300, b"\xac\x02"),
        (2**63 - 1, b"\xff" * 8 + b"\x7f"),
    ],
)
def test_integers_have_seven_bits_a_byte(number: int, encoded: bytes) -> None:
    assert varint(number) == encoded


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**63 - 1))
def test_an_integer_field_is_what_protobuf_writes(number: int) -> None:
    assert integer_field(4, number) == pb.PodSandboxStatusResponse(timestamp=number).SerializeToString()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(max_size=200), max_size=4), st.integers(0, 2**63 - 1))
def test_rows_joined_are_the_list(ids: list[str], created_at: int) -> None:
    rows = [pb.Container(id=id, created_at=created_at) for id in ids]
    joined = b"".join(message_field(1, row.SerializeToString()) for row in rows)
    assert joined == pb.ListContainersResponse(containers=rows).SerializeToString()


def test_a_field_with_a_high_number_is_read_back() -> None:
    config = pb.ContainerConfig.FromString(message_field(17, pb.CDIDevice(name="a/b=c").SerializeToString()))
    assert [device.name for device in config.CDI_devices] == ["a/b=c"]


def test_the_parts_of_an_answer_may_come_in_any_order() -> None:
    status = message_field(1, pb.PodSandboxStatus(id="s1").SerializeToString())
    row = message_field(3, pb.ContainerStatus(id="c1").SerializeToString())
    for parts in (status + row + integer_field(4, 5), integer_field(4, 5) + row + status):
        answer = pb.PodSandboxStatusResponse.FromString(parts)
        assert (answer.status.id, answer.containers_statuses[0].id, answer.timestamp) == ("s1", "c1", 5)
