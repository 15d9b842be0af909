"""Verify every asset. The success of a job can mean that all assets were handed over, not that all are processed."""

from __future__ import annotations

import enum
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from typing import cast

from aem_guides.protocol import contract
from aem_guides.protocol.asset_patterns import AssetPatterns
from aem_guides.protocol.asset_tally import AssetCounts, AssetTally
from aem_guides.protocol.asset_verdict import (
    AssetQuestion,
    Verification,
    conclude_assets,
    not_known,
    uncovered,
    without_asking,
)
from aem_guides.protocol.conversation import Conversation
from aem_guides.protocol.errors import (
    AemGuidesError,
    AnswerError,
    AssetsAtWorkError,
    AuthenticationError,
    InvalidInputError,
    MalformedAnswerError,
    NotFoundError,
    RejectedError,
    Retry,
    UnavailableError,
    UnreachableError,
)
from aem_guides.protocol.json import JsonError
from aem_guides.protocol.json_stream import ObjectStream
from aem_guides.protocol.limits import LARGEST_ASSET_STREAM, too_large
from aem_guides.protocol.models import AssetStatus, JsonValue, text
from aem_guides.protocol.pacing import Pacing
from aem_guides.protocol.procedures.asset_list import assets_of_job
from aem_guides.protocol.procedures.events import Level, Notice
from aem_guides.protocol.states import ACTIVE_STATES, WELL_ENDED_STATES, JobState, state_of_word
from aem_guides.protocol.steps import Compute, Emit, Read, Reply, Steps, TransportFailure, Wait
from aem_guides.protocol.wording import in_words

QUIET_SECONDS = 300.0
"""After this long without a change, PENDING assets count as left out. The instance's queue changes sooner while it
works."""

_QUESTIONS = 3
_LOOK_AGAIN_AFTER = (1.0, 2.0, 4.0)
_REST, _LONGEST_REST = 3.0, 300.0
"""After a slow look, the pause is this many times as long as the look, because the answer is costly for the instance,
too."""

_NO_ENDPOINT = (
    "This instance has no asset status (it needs AEM Guides 2026.08), so the outcome of each asset is not known."
)
_ASKED_AS_A_WHOLE = (
    "The instance does not show the state of the job's assets one by one. It is asked for all assets below the path."
)
_COMMA = "AEM Guides before 2026.09 fails at a comma in the name of an asset or folder."

_LIMIT = re.compile(r"(?P<count>[0-9]{1,9})|(?P<percent>[0-9]{1,3}(\.[0-9]{1,6})?) ?%")


class Standing(enum.Enum):
    """The assets compared with a limit."""

    WELL = "fewer failed"
    TOO_MANY = "too many failed"
    UNDECIDED = "their number is not known"


@dataclass(frozen=True)
class FailureLimit:
    """How many failed assets are too many: at least `count` of them, or at least `percent` of all."""

    count: int | None = None
    percent: float | None = None

    @classmethod
    def parse(cls, field: str, value: object) -> FailureLimit | None:
        """Read a count (`10`) or a share (`2.5%`). None, "" and "None" (as a template shows None) set no limit.

        Raises InvalidInputError.
        """
        if value is None or value in ("", "None"):
            return None
        found = _LIMIT.fullmatch(str(value).strip())
        count = int(found["count"]) if found and found["count"] else None
        percent = float(found["percent"]) if found and found["percent"] else None
        if not (count or (percent and percent <= 100)):
            raise InvalidInputError(field, value, "Give a count such as 10, a share such as 2.5%, or nothing.")
        return cls(count, percent)

    def is_reached(self, failed: int, total: int) -> bool:
        """Whether this many failures reach the limit. Zero failures never do."""
        if self.count is not None:
            return failed >= self.count
        return failed > 0 and failed * 100 >= Fraction(str(self.percent or 0)) * total

    def standing(self, found: Verification) -> Standing:
        """Whether too many assets failed. Undecided if the unknown assets could exceed the limit."""
        if self.is_reached(found.least, found.total):
            return Standing.TOO_MANY
        smallest = found.total if found.total_at_least is None else found.total_at_least
        if found.most is None or self.is_reached(found.most, smallest):
            return Standing.UNDECIDED
        return Standing.WELL

    def __str__(self) -> str:
        return str(self.count) if self.count is not None else f"{self.percent:g}%"


@dataclass(frozen=True)
class LookBegins:
    """Emitted: a new answer is being read. The results of earlier answers are dropped."""


@dataclass(frozen=True)
class NotProcessed:
    """Emitted: assets of the current answer that were not processed, or that have an unknown status word."""

    assets: tuple[AssetStatus, ...]


@dataclass(frozen=True)
class Patience:
    """How long to wait for assets: `within_seconds` at most, and `quiet_seconds` without a change.

    `goes_on`: another part continues the wait after this one look, so an undecided result is left to it.
    """

    within_seconds: float
    pacing: Pacing
    quiet_seconds: float = QUIET_SECONDS
    goes_on: bool = False


def verify_assets(talk: Conversation, question: AssetQuestion, patience: Patience) -> Steps[Verification]:
    """Read the state of every asset until no asset is at work, or until nothing changes any more.

    Emits `LookBegins`, `NotProcessed` and notices. An instance that is busy or does not answer is waited for like
    assets at work. Raises AssetsAtWorkError if assets are still at work when the time is over, and what a call raises.
    """
    known = without_asking(question)
    if known is not None:
        return known
    watch = _Watch(talk, question, patience)
    while True:
        looked_at = watch.elapsed()
        try:
            found = (yield from _ask(watch)) if watch.is_there or (yield from _can_be_asked(talk)) else None
        except (UnreachableError, UnavailableError, AuthenticationError, NotFoundError) as error:
            yield from watch.pause_after(error)
            continue
        if found is None:
            return not_known(question, _NO_ENDPOINT, asked=False)
        watch.is_there = True
        if isinstance(found, str):
            return not_known(question, found)
        open_ = watch.open_of(found)
        quiet = watch.quiet_for(found.counts) >= patience.quiet_seconds and not found.counts.processing
        if not open_ or quiet:
            return conclude_assets(question, found)
        path = question.request.path
        yield Emit(Notice(Level.INFO, f"{open_:,} of {found.counts.seen:,} assets below {path} are still at work"))
        if watch.is_over() and not patience.goes_on and not (found.counts.processing or found.counts.pending):
            return conclude_assets(question, found)
        said = f"{open_:,} assets below {path} still at work"
        if patience.goes_on:
            raise AssetsAtWorkError(f"{said}.")
        yield from watch.pause(said, min(_LONGEST_REST, _REST * (watch.elapsed() - looked_at)))


@dataclass
class _Watch:
    """One wait for the assets of a question."""

    talk: Conversation
    question: AssetQuestion
    patience: Patience
    began: float = field(init=False)
    is_there: bool = False
    """Whether the instance is known to have the asset status endpoint."""
    own_assets: tuple[str, ...] | None = None
    """The assets of a job with a filter. Empty if they are unknown, or if the job had all assets below its path.

    None: the instance was not asked yet.
    """
    _last: AssetCounts | None = None
    _since: float = 0.0

    def __post_init__(self) -> None:
        self.began = self.elapsed()

    def elapsed(self) -> float:
        return self.talk.surroundings.elapsed()

    def is_over(self) -> bool:
        return self.elapsed() - self.began >= self.patience.within_seconds

    def quiet_for(self, counts: AssetCounts) -> float:
        """For how many seconds the counts have not changed."""
        if counts != self._last:
            self._last, self._since = counts, self.elapsed()
        return self.elapsed() - self._since

    def open_of(self, tally: AssetTally) -> int:
        """How many assets may still change. Unknown words and gaps of a job that ended long ago do not count."""
        counts = tally.counts
        unsettled = 0 if self._ended_long_ago() else counts.strange + uncovered(self.question, tally)
        return counts.processing + counts.pending + unsettled

    def _ended_long_ago(self) -> bool:
        ended = self.question.job.completed_at if self.question.job is not None else None
        return ended is not None and self.talk.instance_now() - ended >= self.patience.quiet_seconds * 1000

    def pause(self, what: str, rest: float = 0.0) -> Steps[None]:
        """Wait for a while. Raises AssetsAtWorkError if the time is over."""
        age = self.elapsed() - self.began
        if self.is_over():
            raise AssetsAtWorkError(f"After {in_words(age)}: {what}. Clear this task to check again.")
        pause = self.patience.pacing.next_look(age=age, random=self.talk.surroundings.random())
        yield Wait(min(max(pause, rest), self.patience.within_seconds - age), what)

    def pause_after(self, error: AemGuidesError) -> Steps[None]:
        """Wait for a while after a failed look. Raises the error if a wait cannot help, or cannot help in time."""
        restarts = self.is_there and error.retry is Retry.BRIEFLY
        if not (restarts or error.retry is Retry.USEFUL) or (self.is_over() and not self.patience.goes_on):
            raise error
        yield Emit(Notice(Level.WARNING, f"Reading the state of the assets failed; trying again. {error}"))
        if self.patience.goes_on:
            raise AssetsAtWorkError(f"The outcome of the assets could not be read. {error}") from error
        yield from self.pause("the asset status could not be read")


def _can_be_asked(talk: Conversation) -> Steps[bool]:
    """Whether the instance has the asset status endpoint.

    The check is a GET, because Sling takes a POST to a path without a servlet as "make a node here". The answer "no"
    requires a history that was read, and several looks, because a starting author answers 404 for a while.
    """
    for pause in (*_LOOK_AGAIN_AFTER, None):
        try:
            yield from talk.call(contract.asset_status_is_there())
        except NotFoundError:
            yield from talk.call(contract.history())
        except RejectedError:
            return True
        else:
            return True
        if pause is not None:
            yield Wait(pause, "the asset status is not ready; checking again")
    return False


def _ask(watch: _Watch) -> Steps[AssetTally | str]:
    """One question and its answer, or the reason why there is no answer.

    An instance that restarts forgets the question, and its own job for the question can fail. Then the question is sent
    again.
    """
    for asked in range(1, _QUESTIONS + 1):
        if asked == _QUESTIONS and watch.own_assets:
            watch.own_assets = ()
            yield Emit(Notice(Level.INFO, _ASKED_AS_A_WHOLE))
        job_id = yield from _begin(watch)
        try:
            found = yield from _answer(watch, job_id)
        except RejectedError as refusal:
            if asked == _QUESTIONS:
                raise
            yield Emit(
                Notice(
                    Level.WARNING,
                    f"The instance no longer knows the request for the asset status; sending it again. {refusal}",
                )
            )
            continue
        if isinstance(found, AssetTally) or asked == _QUESTIONS:
            return found
        yield from watch.pause("the instance could not determine the asset status; sending the request again")
    raise AssertionError("no question was asked")


def _begin(watch: _Watch) -> Steps[str]:
    """Send the question: for the assets of the job if they are known, else for all below the path.

    An instance, a proxy or a firewall may refuse a question with thousands of paths, but not the one with one path.
    """
    talk, request = watch.talk, watch.question.request
    if watch.own_assets is None:
        watch.own_assets = yield from assets_of_job(talk, watch.question)
    whole = contract.start_asset_status((request.path,), request.excluded_paths)
    if not watch.own_assets:
        return (yield from talk.call(whole))
    try:
        return (yield from talk.call(contract.start_asset_status(watch.own_assets)))
    except (AnswerError, UnreachableError) as refusal:
        job_id = yield from talk.without_retries().call(whole)
        watch.own_assets = ()
        yield Emit(Notice(Level.INFO, f"{_ASKED_AS_A_WHOLE} {refusal}"))
        return job_id


def _answer(watch: _Watch, job_id: str) -> Steps[AssetTally | str]:
    while True:
        answer = yield from read_asset_status(watch.talk, job_id, watch.question.ignore, watch.own_assets or ())
        state = state_of_word(answer.word)
        if state in (JobState.FAILED, JobState.CANCELLED):
            said = (
                "The instance could not determine the state of the assets: its own job for that ended as "
                f"{answer.word!r}."
            )
            return f"{said} {_COMMA}"
        if state not in ACTIVE_STATES and (answer.stream.has_list or state in WELL_ENDED_STATES):
            return answer.tally
        yield from watch.pause(f"the asset status of {watch.question.request.path} still {answer.word}")


@dataclass
class AssetAnswer:
    """An answer that is being read. Its parts are processed outside the event loop, so errors are stored, not
    raised."""

    stream: ObjectStream
    tally: AssetTally
    found: list[AssetStatus] = field(default_factory=list)
    flaw: str = ""

    @property
    def word(self) -> str:
        return text(self.stream.members.get("status")) or ""

    def take(self, block: bytes) -> None:
        """Process a block, or the end of the answer."""
        try:
            entries: list[JsonValue] = self.stream.feed(block) if block else self.stream.finish()
        except JsonError as error:
            self.flaw = f"The answer cannot be read: {error}."
            return
        self.found = self.tally.take(entries)
        if not block:
            _ = self.tally.counts  # takes a while for a million assets


def read_asset_status(
    talk: Conversation, job_id: str, ignore: AssetPatterns, only: Collection[str] = ()
) -> Steps[AssetAnswer]:
    """Read an answer block by block. Read it again if it is cut off or unreadable, as often as any call is tried.

    `only`: the assets that were asked for, if it was for single ones. Others in the answer do not count.
    Raises UnreachableError, MalformedAnswerError, and what a call raises.
    """
    retries, attempt = talk.retries, 0
    while True:
        attempt += 1
        try:
            return (yield from _read_once(talk, job_id, AssetTally(ignore, only=only), attempt))
        except _UnreadableError as flaw:
            if attempt >= retries.attempts:
                raise flaw.error from None
            pause = retries.backoff(attempt, talk.surroundings.random())
            yield Wait(pause, f"asset status: trying again, since {flaw.error}")


class _UnreadableError(Exception):
    """The body of an answer is cut off or unreadable. `error` is raised if there is no further try."""

    def __init__(self, error: AemGuidesError) -> None:
        super().__init__(str(error))
        self.error = error


def _read_once(talk: Conversation, job_id: str, tally: AssetTally, attempt: int) -> Steps[AssetAnswer]:
    """Read the answer once. Memory holds one block of it, however many assets it contains."""
    call = contract.asset_status_as_it_comes(job_id)
    label = f"{call.endpoint} ({call.request.label})"
    reply: Reply = yield from talk.call(call, stream=True)
    answer = AssetAnswer(ObjectStream(reply.headers, streamed="assets", kept=("status",)), tally)
    yield Emit(LookBegins())
    size, ended = 0, False
    while not ended:
        block = cast("bytes | TransportFailure", (yield Read()))
        if isinstance(block, TransportFailure):
            reason = f"the answer was cut off: {block.reason}"
            raise _UnreadableError(UnreachableError(label, reason, sent=True, attempts=attempt))
        size, ended = size + len(block), not block
        yield Compute(partial(answer.take, block))
        flaw = too_large(LARGEST_ASSET_STREAM) if size > LARGEST_ASSET_STREAM else answer.flaw
        if flaw:
            raise _UnreadableError(MalformedAnswerError(label, reply.status, "", attempts=attempt, hint=flaw))
        if answer.found:
            yield Emit(NotProcessed(tuple(answer.found)))
    return answer
