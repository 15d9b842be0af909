"""Read and count an instance's answer about assets. Only as many assets are kept as are shown."""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from aem_guides.protocol.asset_patterns import AssetPatterns
from aem_guides.protocol.models import AssetState, AssetStatus, JsonValue, flag, same_path, text
from aem_guides.protocol.states import JobState, state_of_word

MOST_LISTED = 100
"""Assets of each kind that are kept for display."""

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
"""Assets have the status words of jobs, in the same spellings, and one word of their own."""


def asset_state_of_word(word: str) -> AssetState:
    """The state that a word of any spelling means; an unknown word is `AssetState.UNKNOWN`."""
    if "".join(letter for letter in word.upper() if letter.isalnum()) in _UNPROCESSED:
        return AssetState.UNPROCESSED
    return _STATES.get(state_of_word(word), AssetState.UNKNOWN)


def read_asset(value: JsonValue) -> AssetStatus:
    """Read one asset. An unreadable entry gives an asset without path and with the state UNKNOWN."""
    entry = value if isinstance(value, dict) else {}
    word = text(entry.get("status")) or ""
    reason = text(entry.get("reason")) or text(entry.get("message")) or text(entry.get("comments"))
    path = text(entry.get("path")) or ""
    state = asset_state_of_word(word)
    return AssetStatus(path, state, word, text(entry.get("uuid")), flag(entry.get("exists")), reason)


def _path_of(entry: JsonValue) -> str | None:
    path = entry.get("path") if isinstance(entry, dict) else None
    return same_path(path) if isinstance(path, str) else None


@dataclass(frozen=True)
class AssetCounts:
    """The counts of an answer: all assets, and the assets of each kind. Every asset is in exactly one count besides
    `seen`.

    An asset that the answer lists several times is counted once, by its worst state. `not_processed`: failed, cancelled
    or left unprocessed. `strange`: an unknown word. `gone`: the answer says that they no longer exist. `ignored`: they
    do not count. `unreadable`: the answer does not show their state.
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
    """Counts assets as they come. The first 100 of each kind are kept in `listed`, by the name of their count.

    `only`: the paths of the assets that were asked for. Without them, every asset counts.
    """

    ignore: AssetPatterns = field(default_factory=AssetPatterns)
    only: Collection[str] = ()
    listed: dict[str, list[AssetStatus]] = field(default_factory=dict)
    _paths: dict[str, list[array[int]]] = field(default_factory=dict)
    _without_path: dict[str, int] = field(default_factory=dict)
    _states: dict[str, AssetState] = field(default_factory=dict)
    _counts: AssetCounts | None = None
    _asked: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        self._asked = frozenset(map(same_path, self.only))

    def take(self, entries: Iterable[JsonValue]) -> list[AssetStatus]:
        """Count entries of an answer. Returns those that were not processed or have an unknown word."""
        self._counts = None
        found: list[AssetStatus] = []
        paths: dict[str, list[JsonValue]] = {kind: [] for kind in _WORST_FIRST}
        processed = paths["processed"]
        for entry in entries:
            if self._asked and _path_of(entry) not in self._asked:
                continue
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
        for kind, new in paths.items():
            if new:
                self._note(kind, new)
        return found

    @property
    def counts(self) -> AssetCounts:
        """The counts. They are computed at the first access after new entries, which takes some time."""
        if self._counts is None:
            counts = dict(self._without_path)
            for part in range(_PARTS):
                counted = set[int]()
                for kind in _WORST_FIRST:
                    if kind in self._paths:
                        before = len(counted)
                        counted.update(self._paths[kind][part])
                        counts[kind] = counts.get(kind, 0) + len(counted) - before
            self._counts = AssetCounts(seen=sum(counts.values()), **counts)
        return self._counts

    def _note(self, kind: str, paths: list[JsonValue]) -> None:
        """Store eight bytes of a path's digest, which identify the asset, in parts to save memory. Each asset without a
        path counts as one."""
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
        """A fast check for the state of most assets, because a million of them may be checked."""
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
