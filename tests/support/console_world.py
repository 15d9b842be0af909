"""A ledger as people have one: hundreds of jobs of two weeks, good and bad, with an archive and failed assets."""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass
from pathlib import Path

from aem_guides.ledger.clock import now_ms
from aem_guides.ledger.findings import Remedy
from aem_guides.ledger.records import Snapshot
from aem_guides.ledger.store import Ledger
from aem_guides.protocol.models import Job
from aem_guides.protocol.wording import iso_time
from aem_guides.results.verification import CSV_NAME
from aem_guides.runtime.sheets import as_csv
from tests.support.archives import a_zip
from tests.support.worlds import MINUTE, apply, job, note, snapshot

COUNT = 500
DAYS = 14
SHOWN = "7c1e0c52-9d0a-4f7e-8a52-4b1f0f6a9e11"
SHOWN_PATH = "/content/dam/harbour/guides/installation/en"
FAILED_ASSETS = 120
_WORDS = ["SUCCESS"] * 16 + ["COMPLETED WITH ERRORS", "FAILED", "SUCCESS", "CANCELLED"]
_BOOKS = ("installation", "operation", "maintenance", "safety", "release-notes", "api", "training")
_LANGUAGES = ("en", "de", "fr", "ja", "pt-br")


@dataclass(frozen=True)
class World:
    """Whose jobs they are: the instance's name in the ledger, and the connection by which it is asked."""

    instance: str
    connection_id: str

    def reconcile(self, ledger: Ledger, *window: Job, at: int) -> None:
        """Let the ledger see these jobs at this time."""
        seen: Snapshot = snapshot(*window, at=at)
        apply(ledger, dataclasses.replace(seen, instance=self.instance, connection_id=self.connection_id), _DONE)

    def fill(self, ledger: Ledger, folder: Path) -> None:
        """Put the jobs into the ledger, one of them with all that a job can have; its archive lies in the folder."""
        now = now_ms()
        began = now - 50 * MINUTE
        mine = note(SHOWN, at=began, instance=self.instance, connection_id=self.connection_id)
        ledger.take_note(dataclasses.replace(mine, request={**mine.request, "path": SHOWN_PATH}))
        states = (("WAITING", 0), ("RUNNING", 800), ("CANCELLED", 1_100), ("RUNNING", 1_800))
        for number, (word, done) in enumerate(states):
            seen = _job(SHOWN, word, began, SHOWN_PATH, 2_400, done)
            self.reconcile(ledger, seen, at=began + number * 8 * MINUTE)
        crowd = [_one_of_many(number, now) for number in range(COUNT - 1)]
        ended = dataclasses.replace(
            _job(SHOWN, "COMPLETED WITH ERRORS", began, SHOWN_PATH, 2_400, 2_400), completed_at=now - 12 * MINUTE
        )
        self.reconcile(ledger, ended, *crowd, at=now - 10 * MINUTE)
        store(folder, now - 11 * MINUTE)
        os.utime(folder / CSV_NAME, times=(now / 1000 - 600, now / 1000 - 600))
        ledger.archived(self.instance, SHOWN, f"file://{folder / 'logs.zip'}", "c0ffee" * 10, now - 11 * MINUTE)


_DONE: frozenset[Remedy] = frozenset()


def _job(name: str, word: str, start: int, path: str, total: int, done: int, **more: object) -> Job:
    return job(name, word, start=start, path=path, total_files=total, triggered_count=done, **more)


def _one_of_many(number: int, now: int) -> Job:
    word = _WORDS[number * 7 % len(_WORDS)]
    path = f"/content/dam/harbour/guides/{_BOOKS[number % 7]}/{_LANGUAGES[number % 5]}"
    total = 40 + number * 7919 % 3_000
    done = total if word != "FAILED" else total // 3
    start = now - (90 + number * number * 7919 % (DAYS * 24 * 60 - 120)) * MINUTE
    lasted = (3 + number * 31 % 55) * MINUTE
    made = _job(f"{number:08x}-1b2c-4d3e-8f40-{number * 7919:012x}", word, start, path, total, done)
    return dataclasses.replace(made, completed_at=start + lasted, resumable=word == "FAILED")


def store(folder: Path, at: int) -> None:
    """An archive with its manifest, and the list of failed assets beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for number in range(2_400):
        stamp = f"2026-05-31 08:{number // 60:02}:{number % 60:02}:123"
        asset = f"{SHOWN_PATH}/topic-{number:04}.dita"
        if number % 20 == 7:
            lines.append(
                f"{stamp}: ERROR: [BASELINE_MIGRATION] Failed to process {asset}: keyref 'product' is not defined"
            )
        elif number % 31 == 9:
            lines.append(f"{stamp}: WARN: [BASELINE_MIGRATION] {asset}: link to ../images/fig-{number}.png is broken")
        else:
            lines.append(f"{stamp}: INFO: [BASELINE_MIGRATION] Processed {asset} [topic] references={number % 9}")
    (folder / "logs.zip").write_bytes(a_zip({"processing.log": "\n".join(lines).encode()}))
    told = {"sha256": "ab", "size": 1, "entries": [], "archived_at": iso_time(at)}
    (folder / "manifest.json").write_text(json.dumps(told))
    failed = [
        (
            f"{SHOWN_PATH}/topic-{number * 20 + 7:04}.dita",
            f"uuid-{number}",
            "FAILURE",
            "keyref 'product' is not defined",
        )
        for number in range(FAILED_ASSETS)
    ]
    (folder / CSV_NAME).write_text(as_csv([("path", "uuid", "status", "reason"), *failed]))
