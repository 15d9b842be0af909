"""What tasks remember from try to try."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import cast

import pytest
from airflow.sdk import Context

from aem_guides.memory import first_time
from aem_guides.operators import AemGuidesArchiveLogsOperator
from aem_guides.protocol.contract import read_job


class Store:
    """A task state store, as far as it is used."""

    def __init__(self) -> None:
        self.kept: dict[str, object] = {}

    def get(self, key: str, default: object = None) -> object:
        return self.kept.get(key, default)

    def set(self, key: str, value: object, *, retention: object = None) -> None:
        self.kept[key] = value


def context_of(store: Store) -> Context:
    return cast("Context", {"task_state_store": store})


def test_the_first_time_stays_the_first_for_the_same_job() -> None:
    context = context_of(Store())
    assert [first_time(context, "a", now) for now in (10.0, 20.0)] == [10.0, 10.0]
    assert first_time(context, "b", 30.0) == 30.0


def test_the_archive_of_a_job_without_times_stays_in_one_folder_over_midnight(monkeypatch: pytest.MonkeyPatch) -> None:
    operator = AemGuidesArchiveLogsOperator(task_id="archive", processing_id="a")
    job = read_job({"processingId": "a", "status": "SUCCESS"})
    store = Store()
    late = datetime(2026, 3, 1, 23, 59, 50, tzinfo=UTC)
    dates = []
    for now in (late, late + timedelta(minutes=2)):
        monkeypatch.setattr("aem_guides.operators.time.time", now.timestamp)
        dates.append(operator._when(context_of(store), job).date())
    assert dates == [late.date(), late.date()]


def test_a_job_that_tells_its_start_is_archived_by_that() -> None:
    operator = AemGuidesArchiveLogsOperator(task_id="archive", processing_id="a")
    job = read_job({"processingId": "a", "status": "SUCCESS", "startedAt": 86_400_000})
    assert operator._when(context_of(Store()), job) == datetime(1970, 1, 2, tzinfo=UTC)
