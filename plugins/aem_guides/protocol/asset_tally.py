"""What an instance says of assets, read and counted. However many there are, no more of them is kept than is shown."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field

from aem_guides.protocol.asset_patterns import AssetPatterns
from aem_guides.protocol.models import AssetState, AssetStatus, JsonValue, flag, text
from aem_guides.protocol.states import JobState, state_of_word

MOST_LISTED = 100
"""Assets of each kind that are kept to be shown."""

_MOST_WORDS_KNOWN = 1_000
_PARTS, _LARGEST_DIGEST = 256, 2**64 - 1
_WORST_FIRST = (
    "not_processed",
    "strange",
    "processing",
    "pending",
    "unreadable",
    "gone",
    "ignored",
    "processed",
)
_UNPROCESSED = frozenset({"UNPROCESSED", "NOTPROCESSED"})
_STATES = {
    JobState.WAITING: AssetState.PENDING,
    JobState.RUNNING: AssetState.PROCESSING,
    JobState.SUCCESS: AssetState.SUCCESS,
    JobState.WITH_ERRORS: AssetState.FAILURE,
    JobState.FAILED: AssetState.FAILURE,
    JobState.CANCELLED: AssetState.UNPROCESSED,
}
"""The words for assets are those for jobs, in as many spellings, and one of their own."""


def asset_state_of_word(word: str) -> AssetState:
    """The state that a word of any spelling means; an unknown word is `AssetState.UNKNOWN`."""
    if "".join(letter for letter in word.upper() if letter.isalnum()) in _UNPROCESSED:
        return AssetState.UNPROCESSED
    return _STATES.get(state_of_word(word), AssetState.UNKNOWN)


def read_asset(told: JsonValue) -> AssetStatus:
    """One asset; of an entry that cannot be read nothing is known."""
    entry = told if isinstance(told, dict) else {}
    word = text(entry.get("status")) or ""
    reason = text(entry.get("reason")) or text(entry.get("message")) or text(entry.get("comments"))
    path = text(entry.get("path")) or ""
    state = asset_state_of_word(word)
    return AssetStatus(path, state, word, text(entry.get("uuid")), flag(entry.get("exists")), reason)


@dataclass(frozen=True)
class AssetCounts:
    """How many assets an answer tells of, in all and by what it says of each. Every asset is in one count but `seen`.

    One that it tells of several times is counted once, by the worst that it says of it.
    `not_processed`: failed, cancelled or left as they were. `strange`: a word that is not known. `gone`: the answer
    says that they are no longer there. `ignored`: they do not count. `unreadable`: the answer says nothing of them.
    """

    seen: int = 0
    processed: int = 0
    not_processed: int = 0
    strange: int = 0
    processing: int = 0
    pending: int = 0
    gone: int = 0
    ignored: int = 0
    unreadable: int = 0


@dataclass
class AssetTally:
    """Counts assets as they come. The first 100 of each kind are kept in `listed`, by the name of their count."""

    ignore: AssetPatterns = field(default_factory=AssetPatterns)
    listed: dict[str, list[AssetStatus]] = field(default_factory=dict)
    _paths: dict[str, list[array[int]]] = field(default_factory=dict)
    _without_path: dict[str, int] = field(default_factory=dict)
    _states: dict[str, AssetState] = field(default_factory=dict)
    _counts: AssetCounts | None = None

    def take(self, entries: Iterable[JsonValue]) -> list[AssetStatus]:
        """Count entries of an answer; those that were not processed, or have a word that is not known."""
        self._counts = None
        found: list[AssetStatus] = []
        paths: dict[str, list[JsonValue]] = {kind: [] for kind in _WORST_FIRST}
        processed = paths["processed"]
        for entry in entries:
            if isinstance(entry, dict) and self._is_plainly_processed(entry):
                processed.append(entry.get("path"))
                continue
            asset = read_asset(entry)
            kind = self._kind(asset)
            paths[kind].append(asset.path)
            kept = self.listed.setdefault(kind, [])
            if len(kept) < MOST_LISTED:
                kept.append(asset)
            if kind in ("not_processed", "strange"):
                found.append(asset)
        for kind, told in paths.items():
            if told:
                self._note(kind, told)
        return found

    @property
    def counts(self) -> AssetCounts:
        """Counted when they are first asked for after more has come, which takes its time."""
        if self._counts is None:
            counts = dict(self._without_path)
            for part in range(_PARTS):
                told = set[int]()
                for kind in _WORST_FIRST:
                    if kind in self._paths:
                        before = len(told)
                        told.update(self._paths[kind][part])
                        counts[kind] = counts.get(kind, 0) + len(told) - before
            self._counts = AssetCounts(seen=sum(counts.values()), **counts)
        return self._counts

    def _note(self, kind: str, paths: list[JsonValue]) -> None:
        """Eight bytes tell which assets are the same, in parts for the sake of memory; without a path each is one."""
        parts = self._paths.setdefault(kind, [])
        if not parts:
            parts.extend(array("Q") for _ in range(_PARTS))
        without = 0
        for path in paths:
            if isinstance(path, str) and path:
                digest = hash(path) & _LARGEST_DIGEST
                parts[digest % _PARTS].append(digest)
            else:
                without += 1
        self._without_path[kind] = self._without_path.get(kind, 0) + without

    def _is_plainly_processed(self, entry: dict[str, JsonValue]) -> bool:
        """What most assets are, found out in no time: a million of them are looked at."""
        word = entry.get("status")
        if not isinstance(word, str) or self.ignore.patterns:
            return False
        state = self._states.get(word)
        if state is None:
            state = asset_state_of_word(word)
            if len(self._states) < _MOST_WORDS_KNOWN:
                self._states[word] = state
        return state is AssetState.SUCCESS

    def _kind(self, asset: AssetStatus) -> str:
        if asset.path and self.ignore.match(asset.path):
            return "ignored"
        if asset.state is AssetState.SUCCESS:
            return "processed"
        if asset.exists is False:
            return "gone"
        if not asset.status_word:
            return "unreadable"
        return _KINDS[asset.state]


_KINDS = {
    AssetState.FAILURE: "not_processed",
    AssetState.UNPROCESSED: "not_processed",
    AssetState.UNKNOWN: "strange",
    AssetState.PROCESSING: "processing",
    AssetState.PENDING: "pending",
}
