"""Off-peak hours of seconds against a real instance: the trigger over its restarts, and the sensor in a worker."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from functools import partial
from typing import cast

import pytest
from aem_guides.protocol.procedures.off_peak import OffPeakCourse, OffPeakPhase, OffPeakState
from aem_guides.runtime.off_peak import OFF_PEAK_KEY, OffPeakOrder
from aem_guides.triggers.job import PROCESSING_ID_KEY, AemGuidesJobTrigger
from airflow.sdk.bases.xcom import BaseXCom

from aem_guides.hooks.hook import AemGuidesHook
from aem_guides.protocol.hours import parse_only_between
from aem_guides.protocol.models import JsonObject, JsonValue, ProcessingRequest
from aem_guides.runtime.memory import WaitMemory
from aem_guides.runtime.task_states import TaskKey
from aem_guides.sensors import AemGuidesProcessingSensor
from tests.support.clocks import Clock
from tests.support.emulator import EmulatorProcess
from tests.support.tasks import StateStore, Task

FILES = 60
OPEN, PERIOD = 20, 30
KEY = TaskKey("dag", "run", "wait", 0)


@pytest.fixture(autouse=True)
def _connection(emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_AEM_GUIDES_DEFAULT", emulator.connection(read_timeout=5))


@pytest.fixture
def folder(emulator: EmulatorProcess) -> str:
    """A folder that takes minutes, until it is hastened."""
    path = f"/content/dam/nightly-{uuid.uuid4().hex[:8]}"
    emulator.virtual_folder(path, FILES, rate=0.5)
    return path


@pytest.fixture
def new_ids(emulator: EmulatorProcess) -> Iterator[None]:
    emulator.settings(resume_keeps_id=False)
    yield
    emulator.settings(resume_keeps_id=True)


def hours_every_few_seconds(clock: Clock) -> list[JsonValue]:
    first = clock.today().replace(microsecond=0)
    begins = [first + timedelta(seconds=PERIOD * number) for number in range(100)]
    return [
        {
            "from": f"{begin:%H:%M:%S}",
            "to": f"{begin + timedelta(seconds=OPEN):%H:%M:%S}",
            "timezone": "UTC",
            "at_end": "cancel",
        }
        for begin in begins
    ]


def start(path: str) -> str:
    with AemGuidesHook() as hook:
        return hook.start_processing(ProcessingRequest(path))


def hasten(emulator: EmulatorProcess, path: str) -> None:
    emulator.virtual_folder(path, FILES, rate=200)


def processed_once(emulator: EmulatorProcess, path: str) -> bool:
    return [asset["times_processed"] for asset in emulator.assets(path)] == [1] * FILES


def make_trigger(order: OffPeakOrder) -> AemGuidesJobTrigger:
    return AemGuidesJobTrigger(
        aem_guides_conn_id="aem_guides_default",
        processing_id=order.state.processing_id,
        deadline_at=order.state.deadline_at,
        cancel_on_deadline=True,
        cancel_on_kill=True,
        stall_seconds=600,
        log_budget=0,
        longest_look=2.0,
        off_peak=order.to_json(),
    )


@pytest.fixture
def xcoms(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, str], JsonValue]:
    """Airflow's XComs, by task and key."""
    kept: dict[tuple[str, str], JsonValue] = {}

    async def aset(key: str, value: JsonValue, *, task_id: str, **_where: object) -> None:
        kept[task_id, key] = value

    async def aget_one(*, key: str, task_id: str, **_where: object) -> JsonValue:
        return kept.get((task_id, key))

    monkeypatch.setattr(BaseXCom, "aset", aset)
    monkeypatch.setattr(BaseXCom, "aget_one", aget_one)
    monkeypatch.setattr(AemGuidesJobTrigger, "_task_key", lambda _self: KEY)
    return kept


def has_come_to(xcoms: Mapping[tuple[str, str], JsonValue], phase: OffPeakPhase, resumes: int) -> bool:
    match xcoms.get(("start", OFF_PEAK_KEY)):
        case {"phase": str(kept), "resumes": int(count)}:
            return kept == phase and count >= resumes
    return False


async def run_until(order: OffPeakOrder, met: Callable[[], object]) -> JsonObject | None:
    """One life of a triggerer: to the trigger's event, or until it dies on a condition."""

    async def first_event() -> JsonObject:
        async for event in make_trigger(order).run():
            return cast("JsonObject", event.payload)
        raise AssertionError("the trigger fired nothing")

    task = asyncio.create_task(first_event())
    while not task.done():
        if met():
            task.cancel()
            await asyncio.wait([task])
            return None
        await asyncio.sleep(0.002)
    return task.result()


@pytest.mark.usefixtures("new_ids")
def test_a_triggerer_that_dies_in_every_phase_resumes_once_each_time_and_loses_nothing(
    emulator: EmulatorProcess, folder: str, clock: Clock, xcoms: dict[tuple[str, str], JsonValue]
) -> None:
    hours = parse_only_between(hours_every_few_seconds(clock))
    assert hours is not None
    origin = start(folder)
    state = OffPeakState(origin, origin, clock.now() + 3600)
    order = OffPeakOrder(OffPeakCourse(hours, True, ProcessingRequest(folder), "run"), state, "start")
    fatal = [
        (OffPeakPhase.CANCELLING, 0),
        (OffPeakPhase.HELD_BACK, 0),
        (OffPeakPhase.RESUMING, 0),
        (OffPeakPhase.HELD_BACK, 1),
    ]
    for phase, resumes in fatal:
        assert asyncio.run(run_until(order, partial(has_come_to, xcoms, phase, resumes))) is None
    hasten(emulator, folder)
    event = asyncio.run(run_until(order, lambda: False))
    assert event is not None
    assert event["end"] == "ended"
    jobs = emulator.jobs(folder)
    assert [job["state"] for job in jobs] == ["CANCELLED"] * (len(jobs) - 1) + ["SUCCESS"]
    assert xcoms["wait", PROCESSING_ID_KEY] == jobs[-1]["processing_id"]
    kept = xcoms["start", OFF_PEAK_KEY]
    assert isinstance(kept, dict)
    assert kept["resumes"] == len(jobs) - 1 >= 2
    assert processed_once(emulator, folder)


def sensor(job: JsonObject, hours: JsonValue) -> AemGuidesProcessingSensor:
    return AemGuidesProcessingSensor(
        task_id="wait", job=job, only_between=hours, deferrable=False, longest_look=2.0, stream_logs=False
    )


def test_the_sensor_in_a_worker_waits_over_the_hours_too(emulator: EmulatorProcess, folder: str, clock: Clock) -> None:
    origin = start(folder)
    job: JsonObject = {"processing_id": origin, "origin": "started", "request": ProcessingRequest(folder).to_json()}

    class HasteningStore(StateStore):
        def set(self, key: str, value: JsonValue, *, retention: object = None) -> None:
            super().set(key, value, retention=retention)
            memory = WaitMemory.load(Task(store=self).context(), origin)
            if memory is not None and memory.off_peak is not None and memory.off_peak.resumes == 1:
                hasten(emulator, folder)

    task = Task(store=HasteningStore())
    outcome = sensor(job, hours_every_few_seconds(clock)).execute(task.context())
    assert (outcome["state"], outcome["processing_id"]) == ("SUCCESS", origin)
    assert outcome["resumes"] == emulator.jobs(folder)[0]["resumes"] >= 1
    assert processed_once(emulator, folder)


def test_the_next_try_takes_up_what_the_trigger_had_come_to(
    emulator: EmulatorProcess, folder: str, clock: Clock
) -> None:
    origin, task = start(folder), Task()
    job: JsonObject = {"processing_id": origin, "origin": "started", "request": ProcessingRequest(folder).to_json()}
    emulator.wait_until(lambda: emulator.jobs(folder)[0]["position"], "some work")
    with AemGuidesHook() as hook:
        hook.cancel_processing(origin, within_seconds=30)
        cancelled = hook.get_status(origin)
    held = OffPeakState(origin, origin, clock.now() + 3600).held(cancelled, clock.now())
    task.xcom_push(OFF_PEAK_KEY, held.to_json())
    hasten(emulator, folder)
    outcome = sensor(job, hours_every_few_seconds(clock)).execute(task.context())
    assert (outcome["state"], outcome["resumes"]) == ("SUCCESS", 1)
    assert processed_once(emulator, folder)
