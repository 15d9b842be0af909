"""One call from its first try to its answer: login, CSRF, repetition, Retry-After, login pages.

Calls that may be repeated are repeated here. For a POST with an unknown result, an error is raised that says so, and
the procedures decide.
"""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar, cast

from aem_guides.protocol import contract
from aem_guides.protocol.contract import Call, ShapeError
from aem_guides.protocol.errors import (
    AemGuidesError,
    AnswerError,
    AuthenticationError,
    MalformedAnswerError,
    NotFoundError,
    RejectedError,
    Retry,
    ScopeError,
    UnavailableError,
    UnreachableError,
)
from aem_guides.protocol.json import clean_text, decoded
from aem_guides.protocol.limits import too_large
from aem_guides.protocol.manners import LOWERS, Haste, Manners
from aem_guides.protocol.redaction import forms_of, without_tokens
from aem_guides.protocol.replies import (
    is_hibernated,
    is_html,
    retry_after_of,
    speaks_of_scopes,
    title_of,
    without_query,
)
from aem_guides.protocol.steps import (
    Authorize,
    HttpRequest,
    Mask,
    Reply,
    Send,
    Steps,
    Surroundings,
    TransportFailure,
    Wait,
)

T = TypeVar("T")

EXCERPT_LENGTH = 500
_NOT_NOW = {
    406: "The CDN in front of the instance answers 406 for a rate limit or a traffic filter, by default for five "
    "minutes. The same request may succeed later.",
    408: "The instance, or a proxy in front of it, did not receive the whole request in time. It may succeed later.",
    421: "A proxy in front of the instance could not assign the request to a server. It may succeed later.",
    423: "The instance says that something is locked. The same request may succeed later.",
    425: "A proxy in front of the instance asks to send the request later.",
    429: "The instance, or the CDN in front of it, limits the rate of requests. The same request may succeed later.",
}
"""The statuses below 500 with which the request itself may be right, and their likely cause."""

_SEE_OTHER = 303
"""After a POST that was acted on, this status may also lead to its result."""

_BUSY = frozenset({*_NOT_NOW, 502, 503, 504})
_CSRF_HEADER = "CSRF-Token"
_PROXY_LOGIN = "The proxy requires a login: give it in the field proxy, such as http://user:password@proxy:3128."
_INTERIM = "This is not a final answer, and no further answer can be read: the request may have been accepted."
_WEB_PAGE = (
    "The answer is a web page ({title}), not JSON: the server is not AEM Guides, or this is its login page. Check the "
    "field host."
)
_NO_PERMISSION = "Or the user may lack the permission for this."
_WORKED_BEFORE = "The same credentials were accepted before in this run: the {who} may be restarting."
_HIBERNATED = (
    "The sandbox is hibernated. Wake it (De-hibernate) in the Developer Console; its page in a browser leads there."
)


@dataclass(frozen=True)
class RetrySettings:
    """How a call is repeated: `attempts` in all, full jitter below `base_seconds`, doubled each time up to
    `cap_seconds`.

    A `Retry-After` is followed up to `retry_after_cap_seconds`. `accepted_before`: the instance accepted the
    credentials earlier in the same run. So a refused login is temporary, and its error says that a retry is useful.
    """

    attempts: int = 5
    base_seconds: float = 1.0
    cap_seconds: float = 30.0
    retry_after_cap_seconds: float = 120.0
    accepted_before: bool = False

    def backoff(self, attempt: int, random: float) -> float:
        """Seconds to wait after the attempt with this number (the first is 1)."""
        return random * min(self.cap_seconds, self.base_seconds * 2.0 ** min(attempt, 30))


IN_MID_RUN = RetrySettings(accepted_before=True)
"""For tasks after the first task that called the instance."""


@dataclass
class _Learned:
    """What a conversation has learned of the instance. Its hurried copies share it."""

    accepted_before: bool
    csrf_token: str = ""
    clock_difference: float = 0.0


class Conversation:
    """The state between calls to one instance: CSRF token, clock difference, secrets to mask."""

    def __init__(
        self,
        surroundings: Surroundings,
        *,
        retries: RetrySettings | None = None,
        secrets: Iterable[str] = (),
        login_remedy: str = AuthenticationError.hint,
        manners: Manners | None = None,
    ) -> None:
        self._login_remedy = login_remedy
        self._manners = manners
        self._haste = Haste.LOOK
        self.waits_until = math.inf
        self.surroundings = surroundings
        self.retries = retries or RetrySettings()
        self._learned = _Learned(self.retries.accepted_before)
        self._secrets = {secret for secret in secrets if secret}
        self._gives_up_at = math.inf

    def giving_up_at(self, moment: float, *, waiting_until: float = math.inf) -> Conversation:
        """The same conversation, but without retries from this moment (seconds since the epoch) on.

        From that moment on, and from `waiting_until` on, no request is delayed by the rate limit.
        """
        hurried = copy.copy(self)
        hurried._gives_up_at, hurried.waits_until = moment, min(moment, waiting_until)
        return hurried

    def in_haste(self, haste: Haste) -> Conversation:
        """The same conversation, in which every request has at least this haste."""
        hurried = copy.copy(self)
        hurried._haste = haste
        return hurried

    def without_retries(self) -> Conversation:
        """The same conversation, but each request is sent once."""
        hurried = copy.copy(self)
        hurried.retries = replace(self.retries, attempts=1)
        return hurried

    @property
    def is_hurried(self) -> bool:
        """Whether each request is sent once."""
        return self.retries.attempts == 1

    def now(self) -> float:
        """Our own clock, in seconds since the epoch."""
        return self.surroundings.now()

    def instance_now(self) -> int:
        """The instance's clock, from its last `Date` header, in epoch milliseconds."""
        return round((self.now() + self._learned.clock_difference) * 1000)

    def call(self, call: Call[T], *, authorized: bool = True, stream: bool = False) -> Steps[T]:
        """Carry out a call and read its answer. With `stream`, the caller reads the reply's body block by block.

        Raises UnreachableError, AuthenticationError, ScopeError, RejectedError, NotFoundError, UnavailableError,
        MalformedAnswerError.
        """
        attempt = 0
        mending = _Mending()
        authorization = yield from self._authorize(None) if authorized else _no_headers()
        while True:
            attempt += 1
            if (held := self._held_back(call)) > 0:
                yield Wait(held, f"{call.endpoint}: not to ask the instance too often")
            answer = cast("Reply | TransportFailure", (yield Send(self._dress(call, authorization), stream)))
            try:
                return self._read(call, answer, attempt, stream)
            except AuthenticationError as error:
                if not authorized:
                    raise
                if error.status == 403 and self._may_need_csrf(call, error) and mending.first("csrf"):
                    # An instance without CSRF tokens has no such endpoint. Then the 403 had another cause.
                    with contextlib.suppress(NotFoundError):
                        yield from self._fetch_csrf_token()
                    if self._learned.csrf_token:
                        continue
                if not isinstance(error, ScopeError) and mending.first("login"):
                    renewed = yield from self._authorize(authorization)
                    if renewed != authorization:
                        authorization = renewed
                        if call.repeatable or not error.sent:
                            continue
                raise
            except (UnreachableError, UnavailableError, MalformedAnswerError) as error:
                pause = self._pause(error, attempt)
                if attempt >= self.retries.attempts or not _may_repeat(call, error):
                    raise
                if self.now() + pause >= self._gives_up_at:
                    raise
                yield Wait(pause, f"{call.endpoint}: trying again, since {_brief(error)}")

    def _held_back(self, call: Call[T]) -> float:
        """For how many seconds a request is delayed by the rate limit."""
        if self._manners is None or call.request.is_elsewhere:
            return 0.0
        held = self._manners.pause(self.surroundings.elapsed(), max(call.haste, self._haste))
        return min(held, self.waits_until - self.now())

    def redact(self, shown: str) -> str:
        """The text without the secrets that this conversation knows."""
        forms = {form for secret in self._secrets for form in forms_of(secret)}
        for form in sorted(forms, key=len, reverse=True):
            shown = shown.replace(form, "***")
        return shown

    def keep_secret(self, secret: str) -> Steps[None]:
        """Mask a secret in all logs."""
        if secret and secret not in self._secrets:
            self._secrets.add(secret)
            yield Mask(secret)

    def _authorize(self, refused: Mapping[str, str] | None) -> Steps[Mapping[str, str]]:
        """The header fields that log in. Its errors state that the request itself was not acted on."""
        try:
            headers = cast("Mapping[str, str]", (yield Authorize(self, refused)))
        except AemGuidesError as error:
            error.sent = False
            raise
        for value in headers.values():
            yield from self.keep_secret(value.rpartition(" ")[2])
        return headers

    def _fetch_csrf_token(self) -> Steps[None]:
        """Fetch a new token. Its errors state that the request itself was not acted on."""
        self._learned.csrf_token = ""
        try:
            token = yield from self.call(contract.csrf_token())
        except AemGuidesError as error:
            error.sent = False
            raise
        yield from self.keep_secret(token)
        self._learned.csrf_token = token

    def _dress(self, call: Call[T], authorization: Mapping[str, str]) -> HttpRequest:
        headers = {**call.request.headers, **authorization}
        # The instance's CSRF token must not go to another origin.
        if call.request.method != "GET" and self._learned.csrf_token and not call.request.is_elsewhere:
            headers[_CSRF_HEADER] = self._learned.csrf_token
        return replace(call.request, headers=headers)

    def _may_need_csrf(self, call: Call[T], error: AuthenticationError) -> bool:
        return call.request.method != "GET" and not isinstance(error, ScopeError)

    def _read(self, call: Call[T], answer: Reply | TransportFailure, attempt: int, stream: bool) -> T:
        label = f"{call.endpoint} ({call.request.label})"
        if isinstance(answer, TransportFailure):
            raise UnreachableError(label, self.redact(answer.reason), sent=answer.sent, attempts=attempt)
        instance_time = None if call.request.is_elsewhere else contract.instance_time(answer)
        if instance_time is not None:
            self._learned.clock_difference = instance_time / 1000 - self.now()
        if answer.too_large and 200 <= answer.status < 300:
            hint = too_large(call.request.largest_answer)
            raise MalformedAnswerError(label, answer.status, "", attempts=attempt, hint=hint)
        if 200 <= answer.status < 300 and not is_html(answer):
            try:
                read = call.read(answer)
            except ShapeError as error:
                excerpt, hint = self._excerpt(answer), f"The answer cannot be read: {error}."
                raise MalformedAnswerError(label, answer.status, excerpt, attempts=attempt, hint=hint) from None
            self._learned.accepted_before |= not call.request.is_elsewhere
            return read
        self._ask_less_after(call, answer)
        refusal = self._refusal(label, answer, self._excerpt(answer), attempt)
        refusal = call.explain(refusal, answer) if call.explain else refusal
        raise self._in_mid_run(refusal, "identity service" if call.request.is_elsewhere else "instance")

    def _ask_less_after(self, call: Call[T], answer: Reply) -> None:
        retry_after = retry_after_of(answer, self.now())
        wants_less = answer.status in LOWERS or retry_after is not None
        if self._manners is not None and wants_less and not call.request.is_elsewhere:
            self._manners.refuse(self.surroundings.elapsed(), retry_after)

    def _refusal(self, label: str, reply: Reply, excerpt: str, attempts: int) -> AnswerError:
        status = reply.status
        if status < 200:
            return MalformedAnswerError(label, status, excerpt, attempts=attempts, hint=_INTERIM)
        if is_hibernated(reply):
            return UnavailableError(label, status, excerpt, attempts=attempts, hint=_HIBERNATED)
        if 300 <= status < 400:
            where = without_query(reply.headers.get("location", ""))
            hint = f"It redirects to {where or 'nowhere'}, as it does for who is not logged in. {self._login_remedy}"
            refused = AuthenticationError(label, status, "", attempts=attempts, hint=self.redact(hint))
            return refused if status == _SEE_OTHER else _not_acted_on(refused)
        if 200 <= status < 300:
            hint = f"{_WEB_PAGE.format(title=self.redact(title_of(reply))[:100])} {self._login_remedy}"
            return AuthenticationError(label, status, "", attempts=attempts, hint=hint)
        if status == 401:
            refused = AuthenticationError(label, status, excerpt, attempts=attempts, hint=self._login_remedy)
            return _not_acted_on(refused)
        if status == 403 and speaks_of_scopes(reply):
            return _not_acted_on(ScopeError(label, status, excerpt, attempts=attempts))
        if status == 403:
            hint = f"{self._login_remedy} {_NO_PERMISSION}"
            return _not_acted_on(AuthenticationError(label, status, excerpt, attempts=attempts, hint=hint))
        if status == 404:
            return NotFoundError(label, status, excerpt, attempts=attempts)
        if status == 407:
            return _not_acted_on(RejectedError(label, status, excerpt, attempts=attempts, hint=_PROXY_LOGIN))
        if status in _NOT_NOW or status >= 500:
            retry_after = retry_after_of(reply, self.now())
            cause = _NOT_NOW.get(status)
            return UnavailableError(label, status, excerpt, attempts=attempts, retry_after=retry_after, hint=cause)
        return RejectedError(label, status, excerpt, attempts=attempts)

    def _in_mid_run(self, refusal: AnswerError, who: str) -> AnswerError:
        """The refusal as a temporary one if the credentials were accepted before. A missing scope is never
        temporary."""
        if not self._learned.accepted_before or isinstance(refusal, ScopeError):
            return refusal
        if isinstance(refusal, AuthenticationError):
            refusal.args = (f"{refusal} {_WORKED_BEFORE.format(who=who)}",)
        if isinstance(refusal, AuthenticationError | NotFoundError):
            refusal.retry = Retry.USEFUL
        return refusal

    def _excerpt(self, reply: Reply) -> str:
        shown = " ".join(decoded(reply.body[:100_000], reply.headers).split())
        return clean_text(without_tokens(self.redact(shown))[:EXCERPT_LENGTH])

    def _pause(self, error: AemGuidesError, attempt: int) -> float:
        if isinstance(error, AnswerError) and error.retry_after is not None:
            return min(error.retry_after, self.retries.retry_after_cap_seconds)
        return self.retries.backoff(attempt, self.surroundings.random())


def _not_acted_on(refusal: AnswerError) -> AnswerError:
    """Mark a refusal as made before the instance acted. A web page with status 200 is none: it may hide a success."""
    refusal.sent = False
    return refusal


class _Mending:
    """What was already tried during one call."""

    def __init__(self) -> None:
        self._tried: set[str] = set()

    def first(self, what: str) -> bool:
        fresh = what not in self._tried
        self._tried.add(what)
        return fresh


def _may_repeat(call: Call[T], error: AemGuidesError) -> bool:
    """Whether a request may be sent again without a decision of the caller. This is the only place that decides it."""
    if isinstance(error, UnreachableError) and not error.sent:
        return True
    if isinstance(error, UnavailableError) and error.status not in _BUSY:
        return False
    return call.repeatable


def _brief(error: AemGuidesError) -> str:
    return error.reason if isinstance(error, UnreachableError) else f"it answered {getattr(error, 'status', '')}"


def _no_headers() -> Steps[Mapping[str, str]]:
    return {}
    yield  # makes it a generator, like `_authorize`
