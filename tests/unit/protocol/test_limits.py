"""How long an answer may take, and what keeps a stream alive."""

from __future__ import annotations

import pytest

from aem_guides.protocol.limits import LeastRate, longest_answer, longest_pause, too_large, too_slow

ENOUGH = 16 * 1024


@pytest.mark.parametrize(("read_timeout", "pause"), [(1.0, 60.0), (60.0, 60.0), (61.0, 61.0), (300.0, 300.0)])
def test_a_part_of_a_stream_has_a_minute_or_the_connections_time_if_that_is_longer(
    read_timeout: float, pause: float
) -> None:
    assert longest_pause(read_timeout) == pause
    assert longest_answer(read_timeout) == read_timeout + 240.0


@pytest.mark.parametrize("began", [0.0, 1_000.0, -1_000.0])
def test_a_stream_lives_by_sixteen_kibibytes_in_every_minute(began: float) -> None:
    rate = LeastRate(began)
    assert rate.is_kept(0, began + 59.9)
    assert rate.is_kept(ENOUGH, began + 60.0)
    assert rate.is_kept(ENOUGH - 1, began + 119.9), "what came before counts for its own minute alone"
    assert not rate.is_kept(0, began + 120.0)
    assert rate.is_kept(0, began + 179.9), "a new minute has begun"
    assert not rate.is_kept(0, began + 180.0)


def test_the_message_names_the_limit() -> None:
    assert too_large(64 * 1024 * 1024) == "The answer is larger than 64 MiB, so the rest was not read."
    assert too_slow(269.6) == "the answer did not end within 270 s"
