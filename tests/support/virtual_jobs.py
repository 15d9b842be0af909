"""Jobs that are followed in virtual time: how many requests it costs to see their end, and how late it is seen."""

from __future__ import annotations

import enum
import itertools
import json
import math
import random
from dataclasses import dataclass, field
from typing import NoReturn

from aem_guides.protocol.conversation import Conversation
from aem_guides.protocol.models import JsonObject
from aem_guides.protocol.pacing import LONGEST_LOOK, Pacing
from aem_guides.protocol.procedures.events import Progress
from aem_guides.protocol.procedures.follow import FollowEnd, FollowPlan, follow
from aem_guides.protocol.steps import Authorize, Emit, HttpRequest, Reply, Send, Steps, Surroundings, T, Wait

BEGAN = 1_750_000_000.0
FILES_PER_SECOND = 20
_LATENCY = 0.1
"""Seconds that a request takes."""


class Told(enum.StrEnum):
    """What an instance says of the time that is left."""

    TRUE = "true ETA"
    NOISY = "noisy ETA"
    TWICE = "ETA of twice the time"
    MINUTES = "ETA in minutes"
    COUNTS = "no ETA"
    WAVES = "no ETA, speed varies"
    NOTHING = "neither ETA nor count"


@dataclass
class VirtualJob:
    """A job that takes so many seconds, and the clock of its follower. `counts`: it says how many files are done."""

    seconds: float
    told: Told
    counts: bool = True
    seed: int = 0
    clock: float = BEGAN
    looks: int = 0
    log_pages: int = 0
    progress_at: list[float] = field(default_factory=list)
    random: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)

    @property
    def conversation(self) -> Conversation:
        """A conversation in the virtual time of this job."""

        def never(*_what: object) -> NoReturn:
            raise AssertionError("the protocol waits by a step that it yields")

        now = lambda: self.clock  # noqa: E731  # the same clock for both
        return Conversation(Surroundings(now, self.random.random, now, never, never, never))

    def answer(self, request: HttpRequest) -> Reply:
        """What the instance answers now."""
        self.clock += _LATENCY
        path = request.target.partition("?")[0].rpartition("/")[2]
        if path == "logs":
            self.log_pages += 1
            return _json({"lines": [], "hasMore": False})
        self.looks += 1
        return _json(self._status(self.clock - BEGAN))

    def _status(self, age: float) -> JsonObject:
        over = age >= self.seconds
        shown: JsonObject = {"processingId": "p", "status": "SUCCESS" if over else "RUNNING"}
        total = round(self.seconds * FILES_PER_SECOND)
        part = min(1.0, age / self.seconds)
        if self.told is Told.WAVES:
            part += 0.03 * math.sin(6 * math.pi * part)
        if self.counts and self.told is not Told.NOTHING:
            shown |= {"triggeredCount": round(total * part), "migrationSet": {"totalFiles": total}}
        left = max(0.0, self.seconds - age)
        match self.told:
            case Told.TRUE:
                shown["eta"] = {"value": round(left), "unit": "SECONDS"}
            case Told.NOISY:
                shown["eta"] = {"value": round(left * self.random.uniform(0.6, 1.4)), "unit": "SECONDS"}
            case Told.TWICE:
                shown["eta"] = {"value": round(2 * left), "unit": "SECONDS"}
            case Told.MINUTES:
                shown["eta"] = {"value": int(left / 60), "unit": "MINUTES"}
        return shown

    def drive(self, steps: Steps[T]) -> T:
        """Carry the steps out in virtual time."""
        step = next(steps)
        try:
            while True:
                answer: Reply | dict[str, str] | None = None
                match step:
                    case Send(request):
                        answer = self.answer(request)
                    case Wait(seconds):
                        self.clock += seconds
                    case Authorize():
                        answer = {"Authorization": "Bearer x"}
                    case Emit(Progress()):
                        self.progress_at.append(self.clock - BEGAN)
                step = steps.send(answer)
        except StopIteration as end:
            result: T = end.value
            return result


@dataclass(frozen=True)
class Watched:
    """What it cost to see the end, and how late it was seen, in seconds; `stale`: how old progress grew at first."""

    looks: int
    log_pages: int
    lag: float
    stale: float


def watched(job: VirtualJob, *, log_lines: int = 0, pacing: Pacing | None = None) -> Watched:
    """Follow a job to its end."""
    plan = FollowPlan(
        deadline_at=BEGAN + 10 * job.seconds + 3600,
        stall_seconds=1e9,
        pacing=pacing or Pacing(longest=LONGEST_LOOK),
        log_budget=log_lines,
    )
    followed = job.drive(follow(job.conversation, "p", plan))
    assert followed.end is FollowEnd.ENDED
    early = [at for at in job.progress_at if at <= 1200]
    rest = max((b - a for a, b in itertools.pairwise(early)), default=0.0)
    return Watched(job.looks, job.log_pages, job.clock - BEGAN - job.seconds, rest)


def watched_by_a_fixed_poll(job: VirtualJob, every: float) -> Watched:
    """Look at a job every so many seconds until it has ended."""
    looks = math.ceil(job.seconds / every)
    return Watched(looks, 0, looks * every - job.seconds, every)


def _json(body: JsonObject) -> Reply:
    return Reply(200, {"content-type": "application/json"}, json.dumps(body).encode())
