"""The log of a job as its instance shows it: read for a few seconds at a time, and each line once for all who look.

A log only grows. What was read of it is kept for some minutes, so that the next look reads on from there.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from typing import cast

from airflow.sdk.exceptions import AirflowException
from fastapi import Request

from aem_guides.console.instance_health import ANSWER_SECONDS, FRESH_SECONDS, hook_for_a_look, why
from aem_guides.console.log_text import LINES, LONGEST_LINE, LogPage, page_of
from aem_guides.hooks import bodies
from aem_guides.hooks.hook import AemGuidesAsyncHook
from aem_guides.protocol.errors import AemGuidesError, RejectedError
from aem_guides.protocol.procedures.events import LogLines
from aem_guides.protocol.procedures.log_lines import PageReader, stream_new_lines

MOST_LINES = 20_000
MOST_LETTERS = 4 * 1024 * 1024
MOST_LOGS = 8
KEPT_SECONDS = 300.0
_STEP_LINES = 5 * LINES
"""Lines that are asked for before the letters are counted again."""


@dataclass
class KeptLog:
    """What was read of a log. `said`: why the last look failed. `goes_on`: that look did not come to its end."""

    reader: PageReader = field(default_factory=PageReader)
    lines: list[str] = field(default_factory=list)
    letters: int = 0
    read_at: float | None = None
    said: str = ""
    goes_on: bool = False
    reading: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def room(self) -> int:
        """How many lines more may be read."""
        return MOST_LINES - len(self.lines) if self.letters < MOST_LETTERS else 0

    def take(self, event: object) -> None:
        """Keep lines; an instance may send more than it was asked for."""
        if isinstance(event, LogLines):
            fresh = event.lines[: self.room]
            self.lines += [line if len(line) <= LONGEST_LINE else f"{line[:LONGEST_LINE]} …" for line in fresh]
            self.letters += sum(min(len(line), LONGEST_LINE) for line in fresh)

    def page(self, number: int = 1, search: str | None = None) -> LogPage:
        """A page of what was read."""
        shown = page_of(enumerate(self.lines, 1), number, search)
        return replace(shown, cut=self.goes_on or not self.room, goes_on=self.goes_on, said=self.said)


@dataclass
class InstanceLogs:
    """The logs that were looked at lately."""

    _kept: OrderedDict[tuple[str, str], KeptLog] = field(default_factory=OrderedDict)

    async def look(self, connection_id: str, processing_id: str) -> KeptLog:
        """The log of a job as far as it could be read. Whoever comes while it is read waits for that only.

        Raises nothing.
        """
        kept = self._entry(connection_id, processing_id)
        came_at = bodies.surroundings().elapsed()
        async with kept.reading:
            now = bodies.surroundings().elapsed()
            is_fresh = kept.read_at is not None and (
                kept.read_at > came_at or (not kept.goes_on and now - kept.read_at <= FRESH_SECONDS)
            )
            if not is_fresh:
                await _read_on(kept, connection_id, processing_id)
        return kept

    def _entry(self, connection_id: str, processing_id: str) -> KeptLog:
        now = bodies.surroundings().elapsed()
        for key, kept in list(self._kept.items()):
            if kept.read_at is not None and now - kept.read_at > KEPT_SECONDS:
                del self._kept[key]
        entry = self._kept.setdefault((connection_id, processing_id), KeptLog())
        self._kept.move_to_end((connection_id, processing_id))
        while len(self._kept) > MOST_LOGS:
            self._kept.popitem(last=False)
        return entry


async def _read_on(kept: KeptLog, connection_id: str, processing_id: str) -> None:
    kept.said = ""
    try:
        async with hook_for_a_look(connection_id) as hook:
            await bodies.surroundings().wait_for(_read(hook, kept, processing_id), ANSWER_SECONDS)
        kept.goes_on = False
    except TimeoutError as error:
        kept.goes_on = True
        kept.said = "" if kept.lines else why(error)
    except RejectedError:
        kept.said = "Does not show the log of this job"
    except (AemGuidesError, AirflowException) as error:
        kept.said = why(error)
    kept.read_at = bodies.surroundings().elapsed()


async def _read(hook: AemGuidesAsyncHook, kept: KeptLog, processing_id: str) -> None:
    talk = await hook.talk()
    while most := min(kept.room, _STEP_LINES):
        before = len(kept.lines)
        await hook.drive(stream_new_lines(talk, processing_id, kept.reader, most), kept.take)
        if len(kept.lines) - before < most:
            return


def logs_of(request: Request) -> InstanceLogs:
    """Those of this application."""
    return cast("InstanceLogs", request.app.state.instance_logs)
