"""Drive the protocol's generators without a network: answers from a script, and a clock that only the script moves."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NoReturn, TypeVar, cast

from aem_guides.protocol.conversation import Conversation, RetrySettings
from aem_guides.protocol.errors import AemGuidesError
from aem_guides.protocol.models import ProcessingRequest
from aem_guides.protocol.procedures.intent import Intent
from aem_guides.protocol.procedures.start import StartOutcome, StartPolicy, find_started, start_once
from aem_guides.protocol.steps import (
    Answer,
    Authorize,
    Compute,
    ConfirmTurn,
    Emit,
    EndTurn,
    HttpRequest,
    Mask,
    Read,
    Reply,
    Send,
    Steps,
    Surroundings,
    TakeTurn,
    TransportFailure,
    Turn,
    Wait,
)

T = TypeVar("T")
Responder = Callable[[HttpRequest], Reply | TransportFailure]
LOGIN = {"Authorization": "Bearer first"}


def reply(status: int = 200, body: object = None, **headers: str) -> Reply:
    """An answer. A body that is not bytes becomes JSON."""
    content = body if isinstance(body, bytes) else json.dumps({} if body is None else body).encode()
    return Reply(
        status, {"content-type": "application/json", **{k.replace("_", "-"): v for k, v in headers.items()}}, content
    )


def _no_wait(*_what: object) -> NoReturn:
    raise AssertionError("the protocol waits by a step that it yields")


@dataclass
class World:
    """The script's world: a clock, and what was sent, awaited, emitted and masked. `turn` decides about turns."""

    responder: Responder
    clock: float = 1_750_000_000.0
    random: float = 0.5
    logins: list[Mapping[str, str]] = field(default_factory=lambda: [LOGIN])
    login_error: AemGuidesError | None = None
    after_wait: Callable[[], object] = lambda: None
    turn: Callable[[TakeTurn | ConfirmTurn], Turn] = lambda _asked: Turn(granted=True)
    sent: list[HttpRequest] = field(default_factory=list)
    waits: list[Wait] = field(default_factory=list)
    emitted: list[object] = field(default_factory=list)
    masked: list[str] = field(default_factory=list)
    put_off: float = 0.0
    block: int = 64 * 1024
    """The most bytes that a read of a streamed body returns."""
    _body: bytes = b""

    def conversation(self, **settings: float) -> Conversation:
        retries = RetrySettings(**settings)  # type: ignore[arg-type]  # the settings' own fields
        surroundings = Surroundings(
            now=lambda: self.clock,
            random=lambda: self.random,
            elapsed=lambda: self.clock,
            sleep=_no_wait,
            asleep=_no_wait,
            wait_for=_no_wait,
        )
        return Conversation(surroundings, retries=retries, secrets=("s3cret",))

    def run(self, steps: Steps[T]) -> T:
        """Run a generator. `login_error` is raised in it when it asks for credentials, as the bodies do."""
        answer: Answer = None
        error: AemGuidesError | None = None
        try:
            while True:
                step = steps.send(answer) if error is None else steps.throw(error)
                error = None
                try:
                    answer = self._act(step)
                except AemGuidesError as raised:
                    error, answer = raised, None
        except StopIteration as end:
            return cast("T", end.value)

    def _act(self, step: object) -> Answer:
        match step:
            case Send(request, stream):
                self.sent.append(request)
                answer = self.responder(request)
                self._body = b""
                if stream and isinstance(answer, Reply) and answer.status == 200:
                    self._body = answer.body
                    return replace(answer, body=b"")
                return answer
            case Wait():
                self.waits.append(step)
                self.clock += step.seconds
                self.after_wait()
            case Authorize(_, refused):
                if self.login_error is not None:
                    raise self.login_error
                return self.logins[0] if refused is None or len(self.logins) == 1 else self.logins[1]
            case Emit(item):
                self.emitted.append(item)
                return self._emitted(item)
            case Mask(secret):
                self.masked.append(secret)
            case Compute(work):
                work()
            case Read():
                block, self._body = self._body[: self.block], self._body[self.block :]
                return block
        return None

    def _emitted(self, item: object) -> Answer:
        """A refused turn is awaited until its time is over. A lifecycle that gives up its turn gets it again later."""
        match item:
            case TakeTurn():
                self.clock, self.put_off = self.clock + self.put_off, 0.0
                turn = self.turn(item) if self.clock < item.until else Turn(granted=False)
                if not turn.granted:
                    self.clock = max(self.clock, item.until)
                return turn
            case ConfirmTurn():
                return self.turn(item)
            case EndTurn(again_in):
                self.put_off = again_in or 0.0
        return None


def start_again(
    talk: Conversation, request: ProcessingRequest, *, policy: StartPolicy, run: str, intent: Intent | None
) -> Steps[StartOutcome]:
    """A try that finds this intent stored: it settles that intent before it starts anything."""
    if intent is not None:
        found = yield from find_started(talk, request, intent, policy)
        if found is not None:
            return found
    return (yield from start_once(talk, request, policy=policy, run=run, pending=intent))


def in_turn(answers: Iterable[Reply | TransportFailure]) -> Responder:
    """Each answer once, in order. A further request is an error."""
    left = iter(answers)
    return lambda _request: next(left)
