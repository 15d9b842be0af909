"""Many triggers in one event loop, and in two, against the emulator over HTTP: how they share one instance."""

from __future__ import annotations

import asyncio
import threading
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator

import airflow.sdk.execution_time.cache  # noqa: F401  # Airflow imports it at the first use of a connection
import pytest
from blockbuster import BlockBuster, blockbuster_ctx

from aem_guides.protocol.errors import DoubtfulStartError
from aem_guides.protocol.models import JsonObject, ProcessingRequest
from aem_guides.protocol.procedures import go_on
from aem_guides.protocol.procedures.cancel import CancelResult
from aem_guides.protocol.procedures.follow import FollowEnd
from aem_guides.protocol.procedures.path_state import PathState, Phase
from aem_guides.protocol.procedures.start import Origin
from aem_guides.protocol.procedures.take_up import take_up
from aem_guides.runtime.path_store import encoded
from aem_guides.runtime.task_states import TaskKey
from aem_guides.triggers import lifecycle
from tests.support.batch import a_stranger_starting_jobs, starts_beyond, virtual_folders
from tests.support.clocks import Clock
from tests.support.emulator import EmulatorProcess
from tests.support.notes import KeptNotes
from tests.support.path_triggers import OPTIONS, event_of, events_of, path_trigger


@pytest.fixture(autouse=True)
def connection(emulator: EmulatorProcess, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("AIRFLOW_CONN_AEM_GUIDES_DEFAULT", emulator.connection())
    yield
    emulator.delete("/emulator/faults")


@pytest.fixture
def root() -> str:
    return f"/content/dam/batch-{uuid.uuid4().hex[:8]}"


ENDED: JsonObject = {"phase": "ended"}


def state_of(notes: KeptNotes, path: str) -> PathState:
    """The stored state of a path."""
    state = notes.state(path)
    assert state is not None
    return state


def job_states(notes: KeptNotes, *paths: str) -> list[str | None]:
    """The state of each path's job, as the instance last showed it."""
    jobs = [state_of(notes, path).job for path in paths]
    return [str(job.state) if job is not None else None for job in jobs]


async def until(met: Callable[[], object], within: float = 30) -> None:
    """Await a condition."""
    deadline = time.monotonic() + within
    while not met():
        assert time.monotonic() < deadline, "it did not come about"
        await asyncio.sleep(0.01)


def allow_what_airflow_does_at_first_use(blockbuster: BlockBuster) -> None:
    """Looking up a connection in the environment and loading a class read files."""
    for function in (
        "io.BufferedReader.read",
        "io.TextIOWrapper.read",
        "os.stat",
        "os.read",
        "os.scandir",
        "os.listdir",
    ):
        if function in blockbuster.functions:
            blockbuster.functions[function].deactivate()


def test_a_path_that_waits_for_the_instances_clock_keeps_no_other_from_its_turn(
    emulator: EmulatorProcess, clock: Clock, root: str
) -> None:
    early, other = virtual_folders(emulator, root, 2, files=2, rate=10)
    end = round((clock.now() + 60) * 1000)
    interval = ProcessingRequest(early, created_after=1, created_before=end)
    notes = KeptNotes()
    waiting = path_trigger(notes, early, state=PathState(interval), max_active_jobs=1)
    asyncio.run(events_of([waiting, path_trigger(notes, other, 1, max_active_jobs=1)]))
    assert job_states(notes, early, other) == ["SUCCESS", "SUCCESS"]
    (of_interval,), (of_other,) = emulator.jobs(early), emulator.jobs(other)
    assert of_other["completed"] < end <= of_interval["started"]


def test_many_paths_start_in_order_and_within_the_limit_beside_another_user(
    emulator: EmulatorProcess, clock: Clock, root: str
) -> None:
    paths = virtual_folders(emulator, root, 6, files=4, rate=4)
    notes = KeptNotes()
    triggers = [path_trigger(notes, path, index, max_active_jobs=3) for index, path in enumerate(paths)]
    with a_stranger_starting_jobs(emulator, every=1.0 / clock.speed, files=3, rate=3), blockbuster_ctx() as blockbuster:
        allow_what_airflow_does_at_first_use(blockbuster)
        events = asyncio.run(events_of(triggers))
    assert events == [ENDED] * len(paths)
    assert job_states(notes, *paths) == ["SUCCESS"] * len(paths)
    ours = [job for job in emulator.jobs() if job["path"].startswith(root)]
    assert [job["path"] for job in ours] == paths
    assert starts_beyond(emulator, root, 3) == []


def test_one_path_looks_for_all_that_wait(emulator: EmulatorProcess, clock: Clock, root: str) -> None:
    virtual_folders(emulator, f"{root}/busy", 1, files=100_000, rate=0.1)
    paths = virtual_folders(emulator, root, 40, files=1, rate=100)
    notes = KeptNotes()

    async def wait_a_while() -> int:
        busy = asyncio.create_task(event_of(path_trigger(notes, f"{root}/busy/folder-00000", max_active_jobs=1)))
        await until(lambda: emulator.jobs(f"{root}/busy/folder-00000"))
        waiting = [
            asyncio.create_task(event_of(path_trigger(notes, path, index, max_active_jobs=1)))
            for index, path in enumerate(paths)
        ]
        await asyncio.sleep(0)
        before = len(emulator.requests())
        await clock.asleep(8)
        await until(lambda: len(emulator.requests()) - before >= 2)
        asked = len(emulator.requests()) - before
        for task in (busy, *waiting):
            task.cancel()
        await asyncio.gather(busy, *waiting, return_exceptions=True)
        return asked

    asked = asyncio.run(wait_a_while())
    assert 2 <= asked <= 16, f"{asked} requests in 8 s for one who follows and 40 who wait"
    (job,) = [job for job in emulator.jobs() if job["path"].startswith(root)]
    emulator.post("/emulator/jobs/fail", {"processingId": job["processing_id"]})


@pytest.mark.parametrize("kind", ["reset_after", "empty_body"])
def test_a_lost_answer_makes_no_second_job(emulator: EmulatorProcess, root: str, kind: str) -> None:
    paths = virtual_folders(emulator, root, 2, files=2, rate=4)
    emulator.fault("start", kind, count=1)
    notes = KeptNotes()
    triggers = [path_trigger(notes, path, index, max_active_jobs=2) for index, path in enumerate(paths)]
    events = asyncio.run(events_of(triggers))
    assert events == [ENDED] * len(paths)
    assert job_states(notes, *paths) == ["SUCCESS"] * len(paths)
    assert [job["path"] for job in emulator.jobs() if job["path"].startswith(root)] == paths


def test_a_triggerer_that_dies_at_any_moment_starts_nothing_twice(emulator: EmulatorProcess, root: str) -> None:
    (path,) = virtual_folders(emulator, root, 1, files=2000, rate=1)
    emulator.fault("start", "delay", seconds=20.0, count=1)
    notes, before = KeptNotes(), len(emulator.requests("start"))

    async def die_and_come_back() -> JsonObject:
        dying = asyncio.create_task(event_of(path_trigger(notes, path)))
        await until(lambda: len(emulator.requests("start")) > before)
        assert state_of(notes, path).in_doubt
        dying.cancel()
        await asyncio.gather(dying, return_exceptions=True)
        await until(lambda: emulator.jobs(path))
        second = asyncio.create_task(event_of(path_trigger(notes, path)))
        await until(lambda: state_of(notes, path).processing_id)
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
        emulator.virtual_folder(path, 2000, rate=1_000_000)
        return await event_of(path_trigger(notes, path))

    assert asyncio.run(die_and_come_back()) == ENDED
    assert job_states(notes, path) == ["SUCCESS"]
    (job,) = emulator.jobs(path)
    state = state_of(notes, path)
    assert (state.processing_id, state.origin) == (job["processing_id"], Origin.RECOVERED)


def test_two_triggers_of_one_path_start_one_job_and_one_of_them_stops(emulator: EmulatorProcess, root: str) -> None:
    """For example, a triggerer that counted as dead comes back."""
    (path,) = virtual_folders(emulator, root, 1, files=20, rate=20)
    notes = KeptNotes()
    events = asyncio.run(events_of([path_trigger(notes, path), path_trigger(notes, path)]))
    (stopped,) = [event for event in events if event != ENDED]
    assert (stopped["kind"], stopped["retry"]) == ("NewerStateError", "useful")
    assert job_states(notes, path) == ["SUCCESS"]
    assert len(emulator.jobs(path)) == 1


def test_a_refused_path_fails_alone(emulator: EmulatorProcess, root: str) -> None:
    good = virtual_folders(emulator, root, 2, files=1, rate=10)
    paths = [good[0], f"{root}/nowhere", good[1]]
    notes = KeptNotes()
    triggers = [path_trigger(notes, path, index, max_active_jobs=1) for index, path in enumerate(paths)]
    events = asyncio.run(events_of(triggers))
    assert job_states(notes, *good) == ["SUCCESS"] * 2
    assert events[1]["retry"] == "pointless"
    assert "nowhere" in str(events[1]["error"])


def test_a_turn_that_does_not_come_in_time_is_reported(emulator: EmulatorProcess, root: str) -> None:
    busy, waiting = virtual_folders(emulator, root, 2, files=100_000, rate=0.1)
    notes = KeptNotes()

    async def wait_in_vain() -> JsonObject:
        other = asyncio.create_task(event_of(path_trigger(notes, busy)))
        await until(lambda: emulator.jobs(busy))
        event = await event_of(path_trigger(notes, waiting, max_active_jobs=1, queue_seconds=1.0))
        other.cancel()
        await asyncio.gather(other, return_exceptions=True)
        return event

    assert asyncio.run(wait_in_vain()) == ENDED
    assert state_of(notes, waiting).end is FollowEnd.NO_TURN
    assert emulator.jobs(waiting) == []
    (job,) = emulator.jobs(busy)
    emulator.post("/emulator/jobs/fail", {"processingId": job["processing_id"]})


def half_failed(emulator: EmulatorProcess, notes: KeptNotes, root: str) -> tuple[str, PathState]:
    """A path whose job failed half way, and its state."""
    (path,) = virtual_folders(emulator, root, 1, files=20, rate=20)
    emulator.virtual_folder(path, 20, rate=100, fail_at=0.5)
    asyncio.run(event_of(path_trigger(notes, path)))
    assert job_states(notes, path) == ["FAILED"]
    return path, state_of(notes, path)


def resuming(failed: PathState) -> PathState:
    """The state of a path whose job failed and is to be resumed."""
    assert failed.job is not None
    return failed.resuming(failed.job)


def test_a_failed_job_is_resumed_in_its_turn_from_its_checkpoint(emulator: EmulatorProcess, root: str) -> None:
    notes = KeptNotes()
    path, failed = half_failed(emulator, notes, root)
    notes.set(path, encoded(resuming(failed)))
    asyncio.run(event_of(path_trigger(notes, path)))
    assert job_states(notes, path) == ["SUCCESS"]
    (job,) = emulator.jobs(path)
    assert job["resumes"] == 1
    assert {asset["times_processed"] for asset in emulator.assets(path)} == {1}


@pytest.mark.parametrize("fail_at", [None, 0.5])
def test_a_state_that_airflow_does_not_take_after_a_start_or_resume_is_written_again_and_nothing_sent_anew(
    emulator: EmulatorProcess, root: str, fail_at: float | None
) -> None:
    notes = KeptNotes()
    if fail_at:
        path, failed = half_failed(emulator, notes, root)
        notes.set(path, encoded(resuming(failed)))
    else:
        (path,) = virtual_folders(emulator, root, 1, files=20, rate=100)
    notes.refuse('"resumes": 1' if fail_at else '"origin": "started"', times=3)
    asyncio.run(event_of(path_trigger(notes, path, on_active_job="fail")))
    assert job_states(notes, path) == ["SUCCESS"]
    (job,) = emulator.jobs(path)
    assert job["resumes"] == (1 if fail_at else 0)
    assert {asset["times_processed"] for asset in emulator.assets(path)} == {1}
    assert state_of(notes, path).processing_id == job["processing_id"]


def test_a_resume_in_doubt_is_noted_and_a_person_s_clear_settles_it(
    emulator: EmulatorProcess, clock: Clock, root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = KeptNotes()
    path, failed = half_failed(emulator, notes, root)

    def stays_in_doubt(*_: object, **__: object) -> Iterator[object]:
        yield from ()
        raise DoubtfulStartError("It may be it, or not.")

    with monkeypatch.context() as patch:
        patch.setattr(go_on, "resume_once", stays_in_doubt)
        notes.set(path, encoded(resuming(failed)))
        assert "error" in asyncio.run(event_of(path_trigger(notes, path)))
    doubtful = state_of(notes, path)
    assert (doubtful.phase, doubtful.doubtful, doubtful.processing_id) == (Phase.RESUMING, True, failed.processing_id)
    cleared = take_up(doubtful, failed.job, cleared=True, later_try=True, now=clock.now(), options=OPTIONS)
    notes.set(path, encoded(cleared))
    asyncio.run(event_of(path_trigger(notes, path)))
    assert job_states(notes, path) == ["SUCCESS"]
    (job,) = emulator.jobs(path)
    assert job["resumes"] == 1


@pytest.mark.parametrize(("state", "ended"), [("failed", "CANCELLED"), (None, "RUNNING")])
def test_a_kill_cancels_the_job_and_a_clear_does_not(
    emulator: EmulatorProcess, root: str, monkeypatch: pytest.MonkeyPatch, state: str | None, ended: str
) -> None:
    (path,) = virtual_folders(emulator, root, 1, files=100_000, rate=0.1)
    notes = KeptNotes()
    monkeypatch.setattr(lifecycle, "KILL_CANCEL_SECONDS", 600.0)  # a busy machine, and a fast clock
    monkeypatch.setattr(lifecycle, "task_states", answering(frozenset({state} if state else ())))
    trigger = path_trigger(notes, path)
    monkeypatch.setattr(trigger, "_task_key", lambda: TaskKey("dag", "run", "process_path", 0))

    async def start_and_kill() -> None:
        running = asyncio.create_task(event_of(trigger))
        await until(lambda: emulator.jobs(path) and emulator.jobs(path)[0]["state"] == "RUNNING")
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await trigger.on_kill()

    asyncio.run(start_and_kill())
    (job,) = emulator.jobs(path)
    assert job["state"] == ended
    assert state_of(notes, path).cancel is (CancelResult.CANCELLED if state else None)
    if ended == "RUNNING":
        emulator.post("/emulator/jobs/fail", {"processingId": job["processing_id"]})


def answering(value: frozenset[str]) -> Callable[[TaskKey], Awaitable[frozenset[str]]]:
    async def answer(_key: TaskKey) -> frozenset[str]:
        return value

    return answer


def test_two_triggerers_start_in_turns_and_keep_to_the_limit_together(emulator: EmulatorProcess, root: str) -> None:
    paths = virtual_folders(emulator, root, 6, files=2, rate=4)
    notes = KeptNotes(writes_take=0.05)
    events: list[JsonObject] = []

    def triggerer(mine: list[tuple[int, str]]) -> None:
        triggers = [path_trigger(notes, path, index, max_active_jobs=2) for index, path in mine]
        events.extend(asyncio.run(events_of(triggers)))

    numbered = list(enumerate(paths))
    threads = [threading.Thread(target=triggerer, args=(numbered[half::2],)) for half in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert events == [ENDED] * len(paths)
    assert job_states(notes, *paths) == ["SUCCESS"] * len(paths)
    assert sorted(job["path"] for job in emulator.jobs() if job["path"].startswith(root)) == paths
    assert starts_beyond(emulator, root, 2) == []
