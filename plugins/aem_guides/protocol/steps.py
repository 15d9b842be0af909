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

    `target` is a path with its query, encoded already, or an absolute URL (token endpoints). `body` has its
    `Content-Type` in `headers`. An answer of more than `largest_answer` bytes, unpacked, is not read to its end.
    """

    method: str
    target: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    largest_answer: int = LARGEST_ANSWER

    @property
    def label(self) -> str:
        """The request as shown to people: without its query, which may hold what is not for logs."""
        return f"{self.method} {self.target.partition('?')[0]}"

    @property
    def is_elsewhere(self) -> bool:
        """Whether it goes to another server than the instance."""
        return not self.target.startswith("/")


@dataclass(frozen=True)
class Reply:
    """One HTTP answer. `headers` has lower-case names. `body` is empty where the answer is streamed,
    and a beginning where it is `too_large`."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""
    too_large: bool = False


@dataclass(frozen=True)
class TransportFailure:
    """No whole answer came. `sent` is False only where the instance cannot have got the request."""

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
    """Ask for credentials; `refused` are header fields that the instance has just turned down.

    Where a token has to be bought, that is done in the conversation `talk`: who is in a hurry waits behind no retry.
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
    """Work that takes its time and no I/O. It keeps what came of it itself, and raises nothing."""

    work: Callable[[], None]


@dataclass(frozen=True)
class TakeTurn:
    """Wait for the turn to make a job active, until `until` (epoch seconds).

    `queues`: not while a job is active on the path. Answered with a `Turn`.
    """

    queues: bool
    until: float


@dataclass(frozen=True)
class Turn:
    """Whether it is one's turn, and the ids of the jobs that are known to be active."""

    granted: bool
    active: frozenset[str] = frozenset()


@dataclass(frozen=True)
class ConfirmTurn:
    """Check, right before the request, that no other process may send one. Answered with a `Turn`."""


@dataclass(frozen=True)
class EndTurn:
    """The turn is over. It keeps its place where it tries again: in `again_in` seconds, or once `blocked_by` has ended.

    `holds_all`: what stood in the way keeps all others from starting, too.
    """

    again_in: float | None = None
    blocked_by: str | None = None
    holds_all: bool = False


@dataclass(frozen=True)
class SeeWindow:
    """See the window as it is now, read once for all who wait, until `until` (epoch seconds).

    Answered with a `Window`; None where it cannot be read, or not by then.
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

    `now` is in seconds since the epoch, `random` in [0, 1). `elapsed` is in seconds since some moment or other, and no
    setting of the clock moves it. `sleep` blocks, `asleep` does not. `wait_for` awaits something for no longer than so
    many seconds, and raises TimeoutError then.
    """

    now: Callable[[], float]
    random: Callable[[], float]
    elapsed: Callable[[], float]
    sleep: Callable[[float], None]
    asleep: Callable[[float], Awaitable[None]]
    wait_for: Callable[[Awaitable[object], float], Awaitable[object]]
