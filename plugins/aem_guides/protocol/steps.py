"""What a generator of this package can ask of the body that drives it.

A generator yields one `Step` at a time and is sent back what the table says:

==============  ===========================================================================================
`Send`          a `Reply`, or a `TransportFailure` where no whole answer came
`Read`          the next block of the reply just received with `stream=True`: bytes, `b""` at its end, or a
                `TransportFailure`
`Wait`          None, once the seconds have passed
`Authorize`     the header fields that authenticate a request
`Emit`          what the consumer answers, None mostly, once it has dealt with the item: what is emitted is safe
                before the generator goes on
`Mask`          None, once the value is kept out of all logs
`Compute`       None, once the work is done: the asynchronous body does it outside its event loop
==============  ===========================================================================================
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from aem_guides.protocol.limits import LARGEST_ANSWER

if TYPE_CHECKING:
    from aem_guides.protocol.conversation import Conversation
    from aem_guides.protocol.models import Job

T = TypeVar("T")


@dataclass(frozen=True)
class HttpRequest:
    """One HTTP request.

    `target` is a path with its query, already encoded, or an absolute URL (token endpoints). `body` has its
    `Content-Type` in `headers`. An answer with more than `largest_answer` bytes, unpacked, is not read to its end.
    """

    method: str
    target: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    largest_answer: int = LARGEST_ANSWER

    @property
    def label(self) -> str:
        """The request for display: without its query, which may contain secrets."""
        return f"{self.method} {self.target.partition('?')[0]}"

    @property
    def is_elsewhere(self) -> bool:
        """Whether it goes to a server other than the instance."""
        return not self.target.startswith("/")


@dataclass(frozen=True)
class Reply:
    """One HTTP answer. `headers` has lower-case names. `body` is empty if the answer is streamed, and only its
    beginning if it is `too_large`."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""
    too_large: bool = False


@dataclass(frozen=True)
class TransportFailure:
    """No complete answer came. `sent` is False only if the instance cannot have received the request."""

    reason: str
    sent: bool


@dataclass(frozen=True)
class Send:
    request: HttpRequest
    stream: bool = False


@dataclass(frozen=True)
class Read:
    pass


@dataclass(frozen=True)
class Wait:
    seconds: float
    why: str


@dataclass(frozen=True)
class Authorize:
    """Get the login header fields. `refused` are header fields that the instance has just refused.

    If a token must be fetched, the conversation `talk` is used, so that an urgent call does not wait for retries.
    """

    talk: Conversation
    refused: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Emit:
    item: object


@dataclass(frozen=True)
class Mask:
    secret: str


@dataclass(frozen=True)
class Compute:
    """Computation that takes time, without I/O. It stores its own result and raises nothing."""

    work: Callable[[], None]


@dataclass(frozen=True)
class TakeTurn:
    """Wait for the turn to start or resume a job, until `until` (epoch seconds).

    `queues`: not while a job is active on the path. The answer is a `Turn`.
    """

    queues: bool
    until: float


@dataclass(frozen=True)
class Turn:
    """Whether the turn was given, and the ids of the known active jobs. `why`: why it was not given, in words."""

    granted: bool
    active: frozenset[str] = frozenset()
    why: str = ""


@dataclass(frozen=True)
class ConfirmTurn:
    """Check, right before the request, that no other process may send one. The answer is a `Turn`."""


@dataclass(frozen=True)
class EndTurn:
    """End the turn. The ticket keeps its place if it tries again: in `again_in` seconds, or when `blocked_by` has
    ended.

    `holds_all`: the obstacle keeps all other tickets from starting, too.
    """

    again_in: float | None = None
    blocked_by: str | None = None
    holds_all: bool = False


@dataclass(frozen=True)
class SeeWindow:
    """Get the current window, read once for all waiting tasks, until `until` (epoch seconds).

    The answer is a `Window`, or None if it cannot be read in time.
    """

    until: float


@dataclass(frozen=True)
class Window:
    """The jobs that the window shows, by their ids."""

    jobs: Mapping[str, Job]


Step: TypeAlias = Send | Read | Wait | Authorize | Emit | Mask | Compute
Answer: TypeAlias = "Reply | TransportFailure | Mapping[str, str] | bytes | Turn | Window | None"
Steps: TypeAlias = Generator[Step, Answer, T]


@dataclass(frozen=True)
class Surroundings:
    """Clock, sleep and randomness. A test replaces it to control the time.

    `now` is in seconds since the epoch, `random` in [0, 1). `elapsed` is in seconds of a monotonic clock. `sleep`
    blocks, `asleep` does not. `wait_for` awaits something for at most this many seconds, and then raises TimeoutError.
    """

    now: Callable[[], float]
    random: Callable[[], float]
    elapsed: Callable[[], float]
    sleep: Callable[[float], None]
    asleep: Callable[[float], Awaitable[None]]
    wait_for: Callable[[Awaitable[object], float], Awaitable[object]]
