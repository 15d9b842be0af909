"""What became of every asset: success of a job can mean that all were handed over, not that all are done."""

from __future__ import annotations

import re
from dataclasses import dataclass

from aem_guides.protocol import contract
from aem_guides.protocol.conversation import Conversation
from aem_guides.protocol.errors import (
    AssetsAtWorkError,
    InvalidInputError,
    NotFoundError,
    RejectedError,
    VerificationError,
)
from aem_guides.protocol.models import AssetState, AssetStatus, ProcessingRequest
from aem_guides.protocol.pacing import Pacing
from aem_guides.protocol.procedures.events import Level, Notice
from aem_guides.protocol.states import ACTIVE_STATES, JobState, state_of_word
from aem_guides.protocol.steps import Emit, Steps, Wait
from aem_guides.protocol.wording import in_words

_AT_WORK = frozenset({AssetState.PROCESSING, AssetState.PENDING})
_AT_WORK_OF_SOME = frozenset({AssetState.PROCESSING})
"""Of a request with a filter, assets that were left out are pending, too, and for ever."""

_QUESTIONS = 3
_LOOK_AGAIN_AFTER = (1.0, 2.0, 4.0)

_LIMIT = re.compile(r"(?P<count>[0-9]{1,9})|(?P<percent>[0-9]{1,3}(\.[0-9]{1,6})?) ?%")


@dataclass(frozen=True)
class Verification:
    """The states of all assets below a path; those that failed are listed, the others counted.

    `of_job` is False where some of them may not be among those that the job processed.
    """

    total: int
    succeeded: int
    failed: tuple[AssetStatus, ...]
    unclear: int
    of_job: bool = True

    @property
    def failed_of_job(self) -> int | None:
        """How many of the job's own assets failed; None where that cannot be told."""
        return len(self.failed) if self.of_job or not self.failed else None


@dataclass(frozen=True)
class FailureLimit:
    """How many failed assets are too many: at least `count` of them, or at least `percent` of all."""

    count: int | None = None
    percent: float | None = None

    @classmethod
    def parse(cls, field: str, value: object) -> FailureLimit | None:
        """Read a count (`10`) or a share (`2.5%`); None and "" set no limit. Raises InvalidInputError."""
        if value is None or value == "":
            return None
        found = _LIMIT.fullmatch(str(value).strip())
        count = int(found["count"]) if found and found["count"] else None
        percent = float(found["percent"]) if found and found["percent"] else None
        if not (count or (percent and percent <= 100)):
            raise InvalidInputError(field, value, "Give a count such as 10, a share such as 2.5%, or nothing.")
        return cls(count, percent)

    def is_reached(self, failed: int, total: int) -> bool:
        """Whether so many failures are too many. Where nothing failed, they are not."""
        if self.count is not None:
            return failed >= self.count
        return failed > 0 and failed * 100 >= (self.percent or 0) * total

    def __str__(self) -> str:
        return str(self.count) if self.count is not None else f"{self.percent:g}%"


def verify_assets(
    talk: Conversation, request: ProcessingRequest, *, within_seconds: float, pacing: Pacing
) -> Steps[Verification | None]:
    """Ask for the state of every asset until none is at work any more; None where the instance cannot be asked.

    Raises AssetsAtWorkError where some are still at work when the time is over, VerificationError where the instance
    says that it failed to find out, and what a call raises.
    """
    began = talk.now()
    busy = _AT_WORK_OF_SOME if request.has_filter() else _AT_WORK
    if not (yield from _can_be_asked(talk)):
        return None
    while True:
        assets = yield from _ask(talk, request, began, within_seconds, pacing)
        at_work = sum(asset.state in busy for asset in assets)
        if not at_work:
            return _sum_up(assets)
        yield Emit(Notice(Level.INFO, f"{at_work:,} of {len(assets):,} assets below {request.path} are still at work"))
        yield from _pause(talk, began, within_seconds, pacing, f"{at_work:,} assets below {request.path} still at work")


def _can_be_asked(talk: Conversation) -> Steps[bool]:
    """Whether the instance has an asset status.

    Asked by GET, since Sling takes a POST to a path without a servlet for "make a node here". That it has none takes a
    history that was read, and several looks: an author that starts answers 404 for a while.
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
            yield Wait(pause, "the asset status is not there, looking again")
    return False


def _ask(
    talk: Conversation, request: ProcessingRequest, began: float, within: float, pacing: Pacing
) -> Steps[tuple[AssetStatus, ...]]:
    """One question and its answer. An instance that restarts forgets the question: it is asked anew then."""
    for asked in range(1, _QUESTIONS + 1):
        job_id = yield from talk.call(contract.start_asset_status((request.path,), request.excluded_paths))
        try:
            return (yield from _answer(talk, request, job_id, began, within, pacing))
        except RejectedError as refusal:
            if asked == _QUESTIONS:
                raise
            yield Emit(Notice(Level.WARNING, f"The question for the asset status is forgotten, asking anew. {refusal}"))
    raise AssertionError("no question was asked")


def _answer(
    talk: Conversation, request: ProcessingRequest, job_id: str, began: float, within: float, pacing: Pacing
) -> Steps[tuple[AssetStatus, ...]]:
    while True:
        report = yield from talk.call(contract.asset_status(job_id))
        state = state_of_word(report.status_word)
        if state in (JobState.FAILED, JobState.CANCELLED):
            raise VerificationError(
                f"{request.path}: the instance could not tell the asset status; its answer is {report.status_word!r}. "
                "Clear this task to ask again."
            )
        if report.assets is not None and state not in ACTIVE_STATES:
            return report.assets
        yield from _pause(talk, began, within, pacing, f"the asset status of {request.path} still {report.status_word}")


def _pause(talk: Conversation, began: float, within: float, pacing: Pacing, what: str) -> Steps[None]:
    age = talk.now() - began
    if age >= within:
        raise AssetsAtWorkError(f"After {in_words(age)}: {what}. Clear this task to look again.")
    pause = pacing.next_look(age=age, eta=None, random=talk.surroundings.random())
    yield Wait(min(pause, within - age), what)


def _sum_up(assets: tuple[AssetStatus, ...]) -> Verification:
    failed = tuple(asset for asset in assets if asset.state is AssetState.FAILURE)
    succeeded = sum(asset.state is AssetState.SUCCESS for asset in assets)
    return Verification(len(assets), succeeded, failed, len(assets) - succeeded - len(failed))
