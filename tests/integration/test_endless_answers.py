"""Endless answers, through both bodies: each ends in time with our own error, and does not fill the memory."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator

import psutil
import pytest

from aem_guides.protocol import contract
from aem_guides.protocol.asset_patterns import AssetPatterns
from aem_guides.protocol.conversation import Conversation
from aem_guides.protocol.errors import AemGuidesError, MalformedAnswerError
from aem_guides.protocol.models import ProcessingRequest
from aem_guides.protocol.procedures.download import download_log
from aem_guides.protocol.procedures.verify import read_asset_status
from aem_guides.protocol.steps import Steps
from tests.support.bodies import AsyncBody, Body, SyncBody
from tests.support.emulator import EmulatorProcess
from tests.support.logins import TOKEN_SERVICES, connect_all, connection_for, forget_tokens

READ_TIMEOUT = 300.0
MOST_MEMORY = 80 * 1024 * 1024
CALLS: dict[str, Callable[[Conversation], Steps[object]]] = {
    "history": lambda talk: talk.call(contract.history()),
    "status": lambda talk: talk.call(contract.status("a")),
    "logs": lambda talk: talk.call(contract.logs("a")),
    "system_status": lambda talk: talk.call(contract.system_status()),
    "asset_status": lambda talk: talk.call(contract.asset_status("a")),
    "csrf": lambda talk: talk.call(contract.csrf_token()),
    "download": lambda talk: download_log(talk, "a", base_url="http://127.0.0.1"),
    "start": lambda talk: talk.call(contract.start(ProcessingRequest("/content/dam/a"))),
    "cancel": lambda talk: talk.call(contract.cancel("a")),
    "resume": lambda talk: talk.call(contract.resume("a")),
    **dict.fromkeys(TOKEN_SERVICES, lambda talk: talk.call(contract.history())),
}


@pytest.fixture(params=[SyncBody, AsyncBody], ids=["blocking", "asynchronous"])
def body(request: pytest.FixtureRequest) -> Body:
    made: Body = request.param()
    return made


@pytest.fixture(autouse=True)
def _connection(emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    connect_all(monkeypatch, emulator, read_timeout=READ_TIMEOUT)
    forget_tokens()
    yield
    emulator.delete("/emulator/faults")


@pytest.mark.parametrize("endpoint", CALLS)
@pytest.mark.parametrize("kind", ["gzip_bomb", "endless_body", "broken_chunks"])
def test_an_answer_without_end_is_an_error_of_ours_at_every_endpoint(
    body: Body, emulator: EmulatorProcess, endpoint: str, kind: str
) -> None:
    emulator.fault(endpoint, kind, count=None)
    with pytest.raises(AemGuidesError):
        body.drive(lambda talk: CALLS[endpoint](talk.without_retries()), conn_id=connection_for(endpoint))


@pytest.mark.parametrize("kind", ["gzip_bomb", "endless_body", "broken_chunks"])
def test_an_answer_on_assets_without_end_is_an_error_of_ours_and_fills_no_memory(
    body: Body, emulator: EmulatorProcess, kind: str
) -> None:
    def read(talk: Conversation) -> Steps[object]:
        return read_asset_status(talk.without_retries(), "a", AssetPatterns())

    emulator.fault("asset_status", kind, count=None)
    tracemalloc.start()
    try:
        with pytest.raises(AemGuidesError, match="asset status"):
            body.drive(read)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < MOST_MEMORY


@pytest.mark.parametrize("kind", ["gzip_bomb", "endless_body"])
def test_a_flood_fills_no_memory(body: Body, emulator: EmulatorProcess, kind: str) -> None:
    body.drive(CALLS["system_status"])
    emulator.fault("history", kind, count=None)
    idle = psutil.Process().memory_info().rss
    tracemalloc.start()
    try:
        with pytest.raises(MalformedAnswerError, match="larger than 64 MiB"):
            body.drive(lambda talk: CALLS["history"](talk.without_retries()))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 3 * MOST_MEMORY
    assert psutil.Process().memory_info().rss - idle < MOST_MEMORY
