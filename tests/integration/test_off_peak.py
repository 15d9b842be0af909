"""Off-peak hours of a few seconds against a real instance: the trigger over its restarts, and the sensor in a
worker."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from datetime import timedelta
from functools import partial

import pytest

from aem_guides.hooks.hook import AemGuidesHook
from aem_guides.protocol.models import JsonObject, JsonValue, ProcessingRequest
from aem_guides.protocol.procedures.follow import FollowEnd
from aem_guides.protocol.procedures.path_state import PathState, Phase
from aem_guides.protocol.procedures.start import Origin
from aem_guides.runtime import notes as registers
from aem_guides.runtime.path_store import encoded
from aem_guides.sensors import AemGuidesProcessingSensor
from tests.support.clocks import Clock
from tests.support.emulator import EmulatorProcess
from tests.support.notes import KeptNotes
from tests.support.path_triggers import path_trigger, run_until
from tests.support.tasks import Task

FILES = 60
OPEN, PERIOD = 20, 30


@pytest.fixture(autouse=True)
def _connection(emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_AEM_GUIDES_DEFAULT", emulator.connection(read_timeout=5))


@pytest.fixture
def folder(emulator: EmulatorProcess) -> str:
    """A folder that takes minutes, until the test hastens it."""
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


def has_come_to(notes: KeptNotes, path: str, phase: Phase, resumes: int) -> bool:
    state = notes.state(path)
    return state is not None and state.phase is phase and state.resumes >= resumes


@pytest.mark.usefixtures("new_ids")
def test_a_triggerer_that_dies_in_every_phase_resumes_once_each_time_and_loses_nothing(
    emulator: EmulatorProcess, folder: str, clock: Clock, register: KeptNotes
) -> None:
    hours = hours_every_few_seconds(clock)
    works = PathState(ProcessingRequest(folder)).works(start(folder), Origin.STARTED)
    fatal = [
        (Phase.CANCELLING, 0),
        (Phase.HELD_BACK, 0),
        (Phase.RESUMING, 0),
        (Phase.HELD_BACK, 1),
    ]
    for phase, resumes in fatal:
        trigger = path_trigger(register, folder, state=works, only_between=hours)
        assert asyncio.run(run_until(trigger, partial(has_come_to, register, folder, phase, resumes))) is None
    hasten(emulator, folder)
    trigger = path_trigger(register, folder, only_between=hours)
    assert asyncio.run(run_until(trigger, lambda: False)) == {"phase": "ended"}
    state = register.states(folder)[-1]
    assert state.end is FollowEnd.ENDED
    jobs = emulator.jobs(folder)
    assert [job["state"] for job in jobs] == ["CANCELLED"] * (len(jobs) - 1) + ["SUCCESS"]
    assert state.processing_id == jobs[-1]["processing_id"]
    assert state.resumes == len(jobs) - 1 >= 2
    assert processed_once(emulator, folder)


def sensor(job: JsonObject, hours: JsonValue) -> AemGuidesProcessingSensor:
    return AemGuidesProcessingSensor(
        task_id="wait", job=job, only_between=hours, deferrable=False, longest_look=2.0, stream_logs=False
    )


def test_the_sensor_in_a_worker_waits_over_the_hours_too(
    emulator: EmulatorProcess, folder: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin = start(folder)
    job: JsonObject = {"processing_id": origin, "origin": "started", "request": ProcessingRequest(folder).to_json()}

    class HasteningNotes(KeptNotes):
        def set(self, key: str, value: JsonValue) -> None:
            super().set(key, value)
            if isinstance(value, dict) and value.get("resumes") == 1:
                hasten(emulator, folder)

    notes = HasteningNotes()
    monkeypatch.setattr(registers, "AirflowNotes", lambda: notes)
    outcome = sensor(job, hours_every_few_seconds(clock)).execute(Task().context())
    assert (outcome["state"], outcome["processing_id"]) == ("SUCCESS", origin)
    assert outcome["resumes"] == emulator.jobs(folder)[0]["resumes"] >= 1
    assert processed_once(emulator, folder)


def test_the_next_try_takes_up_what_the_trigger_had_come_to(
    emulator: EmulatorProcess, folder: str, clock: Clock, register: KeptNotes
) -> None:
    origin, request = start(folder), ProcessingRequest(folder)
    job: JsonObject = {"processing_id": origin, "request": request.to_json(), "state_key": folder}
    emulator.wait_until(lambda: emulator.jobs(folder)[0]["position"], "some work")
    with AemGuidesHook() as hook:
        hook.cancel_processing(origin, within_seconds=30)
        cancelled = hook.get_status(origin)
    register.set(folder, encoded(PathState(request).works(origin, Origin.STARTED).held(cancelled, clock.now())))
    hasten(emulator, folder)
    outcome = sensor(job, hours_every_few_seconds(clock)).execute(Task().context())
    assert (outcome["state"], outcome["resumes"]) == ("SUCCESS", 1)
    assert processed_once(emulator, folder)
