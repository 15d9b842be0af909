"""The progress of a batch in words."""

from __future__ import annotations

from aem_guides.protocol.batch import BatchCounts, BatchSpeed


def test_progress_is_shown_in_words() -> None:
    counts = BatchCounts(total=2000, done=309, failed=3, running=4)
    assert counts.in_words(5 * 3600) == "312 of 2,000 paths, 4 running, 3 failed, about 5 h left"
    assert counts.in_words(None) == "312 of 2,000 paths, 4 running, 3 failed"
    assert BatchCounts(2, 2, 0, None).in_words(60) == "2 of 2 paths, 0 failed"


def test_the_remaining_time_follows_from_the_pace_since_the_first_look() -> None:
    speed = BatchSpeed()
    assert speed.seconds_left(BatchCounts(100, 10, 0, 1), 1000) is None
    assert speed.seconds_left(BatchCounts(100, 10, 0, 1), 1010) is None
    assert speed.seconds_left(BatchCounts(100, 19, 1, 1), 1010) == 80
