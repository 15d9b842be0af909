"""Unusual log ZIPs, or with a wrong checksum, over every way that archives them."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from aem_guides.archive.place import verify_archive
from aem_guides.hooks.hook import AemGuidesAsyncHook, AemGuidesHook
from aem_guides.protocol.errors import ArchiveError
from aem_guides.protocol.procedures.download import download_log
from aem_guides.protocol.procedures.parts import ArchivePart
from aem_guides.storage import ArchiveCondition
from tests.support.archiving import Ended, Way, ways
from tests.support.clocks import Clock
from tests.support.emulator import PASSWORD, EmulatorProcess
from tests.support.tasks import Task

NAMES_OUT, BEHIND, TWICE = (
    "lead out of the folder",
    "after the end of the ZIP do not belong to it",
    "Several entries have the same name",
)
ODD: dict[str, tuple[dict[str, object], list[str], list[str]]] = {
    "a name that leads out": ({"names": ["../../x.log"]}, ["x.log"], [NAMES_OUT]),
    "an absolute name": ({"names": ["/opt/aem/bulk.log"]}, ["opt/aem/bulk.log"], [NAMES_OUT]),
    "a drive letter": ({"names": ["C:\\aem\\bulk.log"]}, ["C_/aem/bulk.log"], [NAMES_OUT]),
    "a NUL": ({"names": ["bulk\x00.exe.log"]}, ["bulk_.exe.log"], [NAMES_OUT]),
    "a backslash": ({"names": ["logs\\bulk.log"]}, ["logs/bulk.log"], [NAMES_OUT]),
    "a long name": ({"names": ["x" * 60_000 + ".log"]}, ["x" * 146 + ".log"], [NAMES_OUT]),
    "one name twice": ({"names": ["a.log", "a.log"]}, ["a.log", "a (2).log"], [TWICE]),
    "a line break behind its end": ({"behind": "\r\n"}, [], [BEHIND]),
    "a page behind its end": ({"behind": "<!-- served by pod 7 -->" * 1000}, [], [BEHIND]),
    "all of it": (
        {"names": ["../a.log", "/a.log", "C:\\b\x00.log", "../a.log"], "behind": "\r\n"},
        ["a.log", "a (2).log", "C_/b_.log", "a (3).log"],
        [NAMES_OUT, TWICE, BEHIND],
    ),
}


@pytest.fixture(scope="module")
def ended(emulator: EmulatorProcess) -> Ended:
    return Ended.on(emulator)


@pytest.fixture(autouse=True)
def _connection(emulator: EmulatorProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("AIRFLOW_CONN_AEM_GUIDES_DEFAULT", emulator.connection(read_timeout=30))
    monkeypatch.setenv("AIRFLOW__AEM_GUIDES__ARCHIVE_URI", f"file://{tmp_path}")
    yield
    emulator.delete("/emulator/faults")


def make_odd(emulator: EmulatorProcess, oddities: dict[str, object], count: int | None = None) -> None:
    emulator.fault("download", "zip_odd", count=count, body=json.dumps(oddities))


def sent(emulator: EmulatorProcess, ended: Ended) -> bytes:
    """The download as any client gets it, with the same bytes each time."""
    url = f"{emulator.url}/bin/guides/v1/assets/process/logs/download"
    query = {"processingId": ended.processing_id}
    return httpx.get(url, params=query, auth=("admin", PASSWORD), trust_env=False).content


def blocking(ended: Ended) -> bytes:
    came = list[bytes]()
    with AemGuidesHook() as hook:
        hook.download_logs(ended.processing_id, lambda part: came.append(part.block))
    return b"".join(came)


def asynchronous(ended: Ended) -> bytes:
    came = list[bytes]()

    def keep(part: object) -> None:
        assert isinstance(part, ArchivePart)
        came.append(part.block)

    async def run() -> None:
        async with AemGuidesAsyncHook() as hook:
            base_url = (await hook.settings()).base_url
            await hook.drive(download_log(await hook.talk(), ended.processing_id, base_url=base_url), keep)

    asyncio.run(run())
    return b"".join(came)


@pytest.mark.parametrize("download", [blocking, asynchronous])
@pytest.mark.parametrize("odd", ODD)
def test_an_odd_zip_is_handed_on_byte_for_byte(
    emulator: EmulatorProcess, ended: Ended, odd: str, download: Callable[[Ended], bytes]
) -> None:
    make_odd(emulator, ODD[odd][0])
    assert download(ended) == sent(emulator, ended)


@ways
@pytest.mark.parametrize("odd", ODD)
def test_an_odd_zip_is_archived_as_it_came_at_the_first_download_and_what_is_odd_is_said(
    emulator: EmulatorProcess,
    clock: Clock,
    ended: Ended,
    odd: str,
    archive: Way,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    oddities, names, said = ODD[odd]
    make_odd(emulator, oddities)
    content, before = sent(emulator, ended), len(emulator.requests("download"))
    with caplog.at_level(logging.WARNING, "aem_guides"):
        archive(ended, Task("archive"), clock.now())
    assert len(emulator.requests("download")) == before + 1
    (stored,), (manifest,) = tmp_path.rglob("logs.zip"), tmp_path.rglob("manifest.json")
    assert stored.read_bytes() == content
    reported = json.loads(manifest.read_text())
    assert reported["sha256"] == hashlib.sha256(content).hexdigest()
    assert [entry["name"] for entry in reported["entries"]][: len(names)] == names
    assert len(reported["warnings"]) == len(said)
    for warning, expected in zip(reported["warnings"], said, strict=True):
        assert expected in warning
        assert warning in caplog.text
    assert verify_archive(f"file://{stored}") is ArchiveCondition.OK
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == {stored, manifest}


@ways
@pytest.mark.parametrize("number", [0, 3])
def test_an_odd_zip_with_a_wrong_checksum_is_downloaded_again(
    emulator: EmulatorProcess, clock: Clock, ended: Ended, archive: Way, tmp_path: Path, number: int
) -> None:
    oddities = ODD["all of it"][0]
    make_odd(emulator, oddities | {"wrong_crc": number}, count=1)
    make_odd(emulator, oddities)
    before = len(emulator.requests("download"))
    archive(ended, Task("archive"), clock.now())
    assert len(emulator.requests("download")) == before + 2
    (stored,) = tmp_path.rglob("logs.zip")
    assert stored.read_bytes() == sent(emulator, ended)


@ways
def test_a_checksum_that_stays_wrong_is_a_clear_error_and_nothing_is_stored(
    emulator: EmulatorProcess, clock: Clock, ended: Ended, archive: Way, tmp_path: Path
) -> None:
    make_odd(emulator, {"names": ["job.log", "/b.log"], "behind": "\r\n", "wrong_crc": 1})
    before = len(emulator.requests("download"))
    with pytest.raises(ArchiveError) as caught:
        archive(ended, Task("archive"), clock.now())
    assert len(emulator.requests("download")) == before + 3
    reported = str(caught.value)
    assert f"job {ended.processing_id} was still incomplete after 3 downloads, so nothing was stored" in reported
    assert "entry '/b.log' does not match its CRC-32" in reported
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
