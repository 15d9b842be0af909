"""What an answer may cost: how large it may be, and how long it may take. Pure.

An instance, a proxy or a CDN can send without end, or a byte every few seconds for ever: no read of a socket times out
then, and the caller would wait for ever.
"""

from __future__ import annotations

from dataclasses import dataclass

LARGEST_ANSWER = 64 * 1024 * 1024
"""Bytes, unpacked: a hundred times the largest page of a log that is asked for."""
LARGEST_ASSET_STATUS = 32 * 1024 * 1024
"""Bytes, unpacked, of one that is read whole: some 180,000 assets, which take ten times as much memory."""
LARGEST_ASSET_STREAM = 4096 * 1024 * 1024
"""Bytes, unpacked, of one that is read as it comes: it fills no memory, but has to end. A million take 190 MB."""

MOST_VALUES = 1_000_000
"""Values in an answer: three bytes of JSON can be a list of a hundred, so that a small answer fills the memory."""
MOST_VALUES_OF_ASSETS = 2_000_000
"""Values in an asset status that is read whole: an asset has eight."""

_ANSWER_SECONDS = 240.0
_WINDOW_SECONDS = 60.0
_LEAST_BYTES = 16 * 1024


def longest_answer(read_timeout: float) -> float:
    """Seconds that a whole answer may take, from sending on; one that begins late has time left to come."""
    return read_timeout + _ANSWER_SECONDS


def longest_pause(read_timeout: float) -> float:
    """Seconds that a part of a streamed answer may take."""
    return max(read_timeout, _WINDOW_SECONDS)


@dataclass
class LeastRate:
    """Whether a stream is alive: it brings at least 16 KiB in every minute, but for the last one.

    :param since: when the stream began, in seconds.
    """

    since: float
    _brought: int = 0

    def is_kept(self, size: int, now: float) -> bool:
        """Note that so many bytes came; False where too few came in the last minute."""
        self._brought += size
        if now - self.since < _WINDOW_SECONDS:
            return True
        kept = self._brought >= _LEAST_BYTES
        self.since, self._brought = now, 0
        return kept


def too_large(largest: int) -> str:
    """What is said of an answer that is larger than it may be."""
    return f"The answer is larger than {largest // (1024 * 1024)} MiB, so the rest was not read."


def too_slow(seconds: float) -> str:
    """What is said of an answer that takes longer than it may."""
    return f"the answer did not end within {seconds:.0f} s"


TRICKLES = "the answer came too slowly: less than 16 KiB in a minute"
