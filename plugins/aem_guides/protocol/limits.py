"""Limits for the size and the duration of an answer. Pure.

An instance, a proxy or a CDN can send without end, or send one byte every few seconds forever. Then no socket read
times out, and the caller would wait forever.
"""

from __future__ import annotations

from dataclasses import dataclass

LARGEST_ANSWER = 64 * 1024 * 1024
"""Bytes, unpacked: a hundred times the largest log page that is requested."""
LARGEST_ASSET_STATUS = 32 * 1024 * 1024
"""Bytes, unpacked, of an asset status that is read as a whole: about 180,000 assets, which take ten times as much
memory."""
LARGEST_ASSET_STREAM = 4096 * 1024 * 1024
"""Bytes, unpacked, of an asset status that is read block by block. It does not fill the memory, but must end. A million
assets take 190 MB."""

MOST_VALUES = 1_000_000
"""Values in an answer. Three bytes of JSON can be a list in a list, so a small answer could fill the memory."""
MOST_VALUES_OF_ASSETS = 2_000_000
"""Values in an asset status that is read as a whole. An asset has eight."""

_ANSWER_SECONDS = 240.0
_WINDOW_SECONDS = 60.0
_LEAST_BYTES = 16 * 1024


def longest_answer(read_timeout: float) -> float:
    """Seconds that a whole answer may take from the request on. An answer that begins late has time left to come."""
    return read_timeout + _ANSWER_SECONDS


def longest_pause(read_timeout: float) -> float:
    """Seconds that a part of a streamed answer may take."""
    return max(read_timeout, _WINDOW_SECONDS)


@dataclass
class LeastRate:
    """Whether a stream is alive: it brings at least 16 KiB in each minute except the last.

    :param since: when the stream began, in seconds.
    """

    since: float
    _brought: int = 0

    def is_kept(self, size: int, now: float) -> bool:
        """Count these bytes. False if too few came in the last minute."""
        self._brought += size
        if now - self.since < _WINDOW_SECONDS:
            return True
        kept = self._brought >= _LEAST_BYTES
        self.since, self._brought = now, 0
        return kept


def too_large(largest: int) -> str:
    """The message about an answer that is too large."""
    return f"The answer is larger than {largest // (1024 * 1024)} MiB, so the rest was not read."


def too_slow(seconds: float) -> str:
    """The message about an answer that takes too long."""
    return f"the answer did not end within {seconds:.0f} s"


TRICKLES = "the answer came too slowly: less than 16 KiB in a minute"
