"""Download the whole log of a job: one ZIP, or JSON that names the files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast
from urllib.parse import urljoin, urlsplit

from aem_guides.protocol import contract
from aem_guides.protocol.conversation import Conversation
from aem_guides.protocol.errors import ArchiveError, MalformedAnswerError, NotFoundError, Retry, UnreachableError
from aem_guides.protocol.json import JsonError, clean_text, decoded, read_json
from aem_guides.protocol.models import Job, strings
from aem_guides.protocol.procedures.parts import ArchivePart
from aem_guides.protocol.steps import Emit, Read, Steps, TransportFailure

_ZIP_SIGNATURES = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
_EMPTY_ZIP_SIGNATURE = b"PK\x05\x06"
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_LONGEST_LISTING = 16 * 1024 * 1024
MOST_LOG_FILES = 10_000
"""The most files in a log. A log archive has the same limit of entries."""


class ForeignOriginError(ArchiveError):
    """The instance names a log file on another origin. Nothing was requested there, because credentials must not go
    there."""

    retry = Retry.POINTLESS


@dataclass
class _Body:
    """The body of the streamed reply. Its first bytes can be read ahead."""

    label: str
    head: bytes = b""
    ended: bool = False

    def read(self) -> Steps[bytes]:
        """The next block, or b"" at the end. Raises UnreachableError if the body is cut off."""
        if self.head:
            beginning, self.head = self.head, b""
            return beginning
        if self.ended:
            return b""
        block = cast("bytes | TransportFailure", (yield Read()))
        if isinstance(block, TransportFailure):
            raise UnreachableError(self.label, f"the body was cut off: {block.reason}", sent=True, attempts=1)
        self.ended = not block
        return block

    def peek(self, size: int) -> Steps[bytes]:
        """At least `size` bytes from the beginning, or fewer if the body is shorter."""
        gathered = yield from self.read()
        while len(gathered) < size and not self.ended:
            gathered += yield from self.read()
        self.head = gathered
        return gathered


def download_log(talk: Conversation, processing_id: str, *, base_url: str) -> Steps[None]:
    """Emit the log as `ArchivePart`s, block by block. Only the origin of `base_url`, the instance, is requested.

    Raises MalformedAnswerError if the body is neither a ZIP nor the listing, ForeignOriginError, UnreachableError if
    the body is cut off, and what a call raises.
    """
    call = contract.download(processing_id)
    reply = yield from talk.call(call, stream=True)
    body = _Body(f"{call.endpoint} ({call.request.label})")
    beginning = yield from body.peek(4)
    if beginning.startswith(_ZIP_SIGNATURES):
        yield from _pass_on(body, None)
        return
    if not decoded(beginning, reply.headers).lstrip().startswith("{"):
        shown = clean_text(talk.redact(" ".join(decoded(beginning[:4000], reply.headers).split())))[:200]
        what = "It is empty" if not beginning else "It is neither a ZIP nor a list of log files"
        raise MalformedAnswerError(body.label, reply.status, shown, hint=f"{what}, but a log archive was expected.")
    paths = _same_origin_paths((yield from _listing(body, reply.headers)), base_url, body.label)
    for position, path in enumerate(paths):
        file_call = contract.log_file(path)
        label = f"{file_call.endpoint} ({file_call.request.label})"
        reply = yield from talk.call(file_call, stream=True)
        if (encoding := reply.headers.get("content-encoding", "identity").lower()) != "identity":
            hint = (
                f"The answer was compressed ({encoding}) although no compression was asked for, so it cannot be "
                "checked for completeness."
            )
            raise MalformedAnswerError(label, reply.status, "", hint=hint)
        yield Emit(ArchivePart(path, b"", position))
        yield from _pass_on(_Body(label), path, position)


def has_no_log(talk: Conversation, job: Job) -> Steps[bool]:
    """Whether an ended job has no log: the job shows that it has none, and its download is missing or empty.

    Neither is enough alone. Raises what a call raises.
    """
    if job.has_logs is not False or job.is_active:
        return False
    call = contract.download(job.processing_id)
    try:
        yield from talk.call(call, stream=True)
    except NotFoundError:
        return True
    beginning = yield from _Body(f"{call.endpoint} ({call.request.label})").peek(4)
    return not beginning or beginning.startswith(_EMPTY_ZIP_SIGNATURE)


def _pass_on(body: _Body, name: str | None, position: int = 0) -> Steps[None]:
    while block := (yield from body.read()):
        yield Emit(ArchivePart(name, block, position))


def _listing(body: _Body, headers: Mapping[str, str]) -> Steps[tuple[str, ...]]:
    gathered = bytearray()
    while block := (yield from body.read()):
        gathered += block
        if len(gathered) > _LONGEST_LISTING:
            break
    try:
        data = read_json(bytes(gathered), headers)
    except JsonError:
        data = None
    paths = strings(data.get("logFilePaths")) if isinstance(data, dict) else ()
    if not paths:
        raise MalformedAnswerError(
            body.label, 200, "", hint="logFilePaths is missing or empty, but a log archive was expected."
        )
    if len(paths) > MOST_LOG_FILES:
        hint = f"logFilePaths names {len(paths):,} files; at most {MOST_LOG_FILES:,} are fetched."
        raise MalformedAnswerError(body.label, 200, "", hint=hint)
    return paths


def _same_origin_paths(paths: tuple[str, ...], base_url: str, label: str) -> list[str]:
    """The paths on the instance's own origin. All paths are checked before the first one is requested."""
    origin = _origin(base_url)
    checked: list[str] = []
    for position, path in enumerate(paths, 1):
        try:
            whole = urljoin(base_url.rstrip("/") + "/", _reference(path))
            elsewhere, host = _origin(whole) != origin, urlsplit(whole).hostname
        except ValueError:
            hint = f"Entry {position} of logFilePaths is neither a path nor a URL."
            raise MalformedAnswerError(label, 200, "", hint=hint) from None
        if elsewhere:
            raise ForeignOriginError(
                f"The instance names a log file on another origin ({host}). The file was not requested, and no "
                "credentials were sent there. Fetch that file by hand, or have the instance list its own paths."
            )
        parts = urlsplit(whole)
        checked.append((parts.path or "/") + (f"?{parts.query}" if parts.query else ""))
    return checked


def _reference(path: str) -> str:
    """A URL stays as it is. Anything else is read as a path, which may contain a colon and has no fragment."""
    named = path.replace("#", "%23")
    return named if named.startswith("/") or _URL.match(named) else f"/{named}"


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    default = {"http": 80, "https": 443}.get(parts.scheme)
    return parts.scheme, parts.hostname, parts.port or default
