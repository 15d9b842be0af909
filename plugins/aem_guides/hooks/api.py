"""The whole remote API, one method per endpoint. A subclass drives the generators."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TypeVar, cast

from aem_guides.hooks.connection import InstanceSettings
from aem_guides.protocol import contract
from aem_guides.protocol.contract import Call
from aem_guides.protocol.conversation import Conversation
from aem_guides.protocol.models import (
    AssetStatusReport,
    History,
    Job,
    LogPage,
    ProcessingRequest,
    SystemStatus,
)
from aem_guides.protocol.procedures.cancel import CancelOutcome, cancel_and_confirm
from aem_guides.protocol.procedures.download import download_log
from aem_guides.protocol.procedures.events import LogLines
from aem_guides.protocol.procedures.late_lines import read_settled_log
from aem_guides.protocol.procedures.log_lines import PAGE_LINES, read_log
from aem_guides.protocol.procedures.parts import ArchivePart
from aem_guides.protocol.steps import Steps

T = TypeVar("T")
Consumer = Callable[[object], None]


def ignore(_item: object) -> None:
    """Discard the emitted item."""


class InstanceApi(ABC):
    """The endpoints as methods. Every one raises the errors of `protocol.errors`."""

    @property
    @abstractmethod
    def settings(self) -> InstanceSettings:
        """The checked connection. Raises ConfigurationError."""

    @property
    @abstractmethod
    def talk(self) -> Conversation:
        """The conversation with the instance: what the generators of `protocol.procedures` take."""

    @abstractmethod
    def drive(self, steps: Steps[T], consume: Consumer = ignore) -> T:
        """Run a generator. `consume` gets what it emits, before the generator continues."""

    def call(self, call: Call[T]) -> T:
        """Send one call of `protocol.contract`."""
        return self.drive(self.talk.call(call))

    def start_processing(self, request: ProcessingRequest) -> str:
        """POST one start and return the `processingId`. To start a job only once, use `start_once`."""
        return self.call(contract.start(request))

    def get_status(self, processing_id: str) -> Job:
        """The state of one job."""
        return self.call(contract.status(processing_id))

    def get_logs(
        self, processing_id: str, *, offset: int | None = None, limit: int | None = None, tail: int | None = None
    ) -> LogPage:
        """One page of a job's log: from line `offset` on, or the last `tail` lines."""
        return self.call(contract.logs(processing_id, offset=offset, limit=limit, tail=tail))

    def read_log(
        self, processing_id: str, consume: Callable[[LogLines], None], *, offset: int = 0, page_lines: int = PAGE_LINES
    ) -> int:
        """Pass on all lines from `offset` on, page by page. Returns the number of the line after the last."""
        steps = read_log(self.talk, processing_id, offset=offset, page_lines=page_lines)
        return self.drive(steps, cast("Consumer", consume))

    def read_settled_log(self, job: Job, consume: Callable[[LogLines], None], *, assets_done: bool = False) -> int:
        """Pass on the whole log of a job, with the lines that come after its end. Returns the number of lines.

        `assets_done`: all assets of the job are known to be done.
        """
        return self.drive(read_settled_log(self.talk, job, assets_done=assets_done), cast("Consumer", consume))

    def download_logs(self, processing_id: str, consume: Callable[[ArchivePart], None]) -> None:
        """Pass on the whole log, block by block: the ZIP or the files that the instance sends."""
        steps = download_log(self.talk, processing_id, base_url=self.settings.base_url)
        self.drive(steps, cast("Consumer", consume))

    def cancel_processing(self, processing_id: str, *, within_seconds: float = 60.0) -> CancelOutcome:
        """Cancel a job and check until it has ended, or the time is over."""
        return self.drive(cancel_and_confirm(self.talk, processing_id, within_seconds=within_seconds))

    def resume_processing(self, processing_id: str) -> str:
        """POST one resume. Returns the id of the job after the resume."""
        return self.call(contract.resume(processing_id))

    def get_history(self) -> History:
        """The window: the last jobs, also those of other users."""
        return self.call(contract.history())

    def get_system_status(self) -> SystemStatus:
        """Whether the instance can process. Raises NotFoundError on an instance without this endpoint."""
        return self.call(contract.system_status())

    def start_asset_status(self, request: ProcessingRequest) -> str:
        """Request the state of all assets of a request. Returns the id with which the answer is read."""
        return self.call(contract.start_asset_status((request.path,), request.excluded_paths))

    def get_asset_status(self, job_id: str) -> AssetStatusReport:
        """The answer to `start_asset_status`, once the instance has it. It is held in memory as a whole.

        Raises MalformedAnswerError for an answer of more than 32 MiB (about 180,000 assets).
        `AemGuidesVerifyAssetsOperator` reads answers of any size as they come.
        """
        return self.call(contract.asset_status(job_id))
