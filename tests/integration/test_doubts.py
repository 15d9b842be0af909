"""A start of which nobody can tell what came: a person says it, and the run goes on with one job."""

from __future__ import annotations

import pytest

from aem_guides.hooks.hook import AemGuidesHook
from aem_guides.ledger.notes import Note
from aem_guides.ledger.records import LedgerJob, RunKey
from aem_guides.pipelines.doubt import InLedger, forget_doubt, settle_doubt
from aem_guides.protocol.conversation import Conversation
from aem_guides.protocol.errors import ConfigurationError, DoubtfulStartError, InvalidInputError
from aem_guides.protocol.models import Job, JsonObject, JsonValue, ProcessingRequest
from aem_guides.protocol.procedures import go_on as go_on_procedure
from aem_guides.protocol.procedures.path_state import PathState, Phase
from aem_guides.protocol.procedures.resume import resume_once
from aem_guides.protocol.procedures.settle import NotSettledError
from aem_guides.protocol.procedures.settle import settle as settled_by
from aem_guides.protocol.steps import Steps
from aem_guides.runtime.doubts import Doubt
from aem_guides.runtime.path_store import PathStore, encoded
from aem_guides.runtime.task_states import TaskKey
from tests.support.batch import start_as_stranger
from tests.support.emulator import EmulatorProcess
from tests.support.notes import KeptNotes
from tests.support.tasks import Run, Task
from tests.support.ways import GROUP, Begin, PathRun, every_way

one_way = pytest.mark.parametrize("way", [every_way.args[1][0]], ids=str)


@pytest.fixture(autouse=True)
def _runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow knows the runs."""
    monkeypatch.setattr("aem_guides.pipelines.doubt.run_state", lambda dag_id, _run_id: f"that of {dag_id}")


def leave_in_doubt(emulator: EmulatorProcess, run: PathRun, *, accepted: bool = True) -> None:
    """Play the start, whose answer is lost, against a history that shows the job not yet and proves nothing."""
    emulator.fault("start", "reset_after" if accepted else "reset_before")
    emulator.fault("history", "history_lag", seconds=3600, count=None)
    emulator.fault("history", "history_bad_entry", count=None)
    assert not run.play(run.begins)
    assert "No second start was sent" in str(run.errors[run.begins])
    assert "Settle it on the page AEM Guides" in str(run.errors[run.begins])
    emulator.delete("/emulator/faults")


def settle(run: PathRun, chosen: str | None, entry: LedgerJob | None = None) -> JsonObject:
    """What a run of the control DAG does for the page."""
    return settle_with(run, chosen, lambda *_: entry)


def settle_with(run: PathRun, chosen: str | None, in_ledger: InLedger) -> JsonObject:
    (doubt,) = (doubt for doubt in run.register.doubts if doubt.asker.task.run_id == run.run_id)
    with AemGuidesHook(doubt.asker.connection_id) as hook:
        context = Task("control_job", run=Run("aem_guides_control_job", "console__1")).context()
        return settle_doubt(context, hook, doubt.name, chosen, in_ledger)


def go_on(run: PathRun) -> JsonValue:
    """The page clears the failed task and those after it."""
    run.clear(run.begins)
    run.to_the_end()
    return run.outcome["state"]


def id_of(emulator: EmulatorProcess, path: str) -> str:
    return str(emulator.jobs(path)[0]["processing_id"])


@every_way
@pytest.mark.parametrize("ended", [False, True], ids=["at work", "ended"])
def test_the_run_goes_on_with_the_job_that_a_person_chose(emulator: EmulatorProcess, begin: Begin, ended: bool) -> None:
    run = begin(rate=1000 if ended else 2)
    leave_in_doubt(emulator, run)
    if ended:
        emulator.wait_until(lambda: emulator.jobs(run.path)[0]["state"] == "SUCCESS")
    task = TaskKey("dag", "run", f"{GROUP}.start" if run.way.five_tasks else GROUP, -1)
    (doubt,) = run.register.doubts
    assert (doubt.asker.task, doubt.asker.connection_id, doubt.path) == (task, "aem_guides_default", run.path)
    chosen = id_of(emulator, run.path)
    assert settle(run, chosen)["processing_id"] == chosen
    assert run.register.doubts == [doubt], "until the run has gone on, the page offers that"
    assert settle(run, chosen)["processing_id"] == chosen, "again, after a crash"
    assert go_on(run) == "SUCCESS"
    assert [job["processing_id"] for job in emulator.jobs(run.path)] == [chosen] == [run.outcome["processing_id"]]
    assert run.register.doubts == []


@every_way
def test_a_start_of_which_none_came_is_made_once_the_run_goes_on(emulator: EmulatorProcess, begin: Begin) -> None:
    run = begin()
    leave_in_doubt(emulator, run, accepted=False)
    assert emulator.jobs(run.path) == []
    settle(run, None)
    assert emulator.jobs(run.path) == []
    assert go_on(run) == "SUCCESS"
    assert len(emulator.jobs(run.path)) == 1
    assert run.register.doubts == []


@every_way
def test_a_clear_by_hand_still_says_that_none_came_and_a_choice_after_it_does_not_count(
    emulator: EmulatorProcess, begin: Begin
) -> None:
    run = begin()
    leave_in_doubt(emulator, run, accepted=False)
    before = run.register.doubts
    assert go_on(run) == "SUCCESS"
    assert run.register.doubts == []
    run.register.set(f"doubt:{before[0].state_key}", before[0].to_json())  # a page that was opened before
    for chosen in (id_of(emulator, run.path), None):
        with pytest.raises(NotSettledError, match="not in doubt any more"):
            settle(run, chosen)
    assert len(emulator.jobs(run.path)) == 1


@every_way
def test_a_chosen_job_is_not_cancelled_by_what_looks_after_killed_tasks(
    emulator: EmulatorProcess, begin: Begin
) -> None:
    run = begin(files=400, rate=2)
    leave_in_doubt(emulator, run)
    settle(run, id_of(emulator, run.path))
    run.afterwards()
    assert emulator.jobs(run.path)[0]["state"] != "CANCELLED"


@one_way
def test_a_job_of_another_path_one_that_is_unknown_and_one_that_a_run_has_cannot_be_chosen(
    emulator: EmulatorProcess, begin: Begin
) -> None:
    run, other = begin(), begin(files=400)
    leave_in_doubt(emulator, run)
    start_as_stranger(emulator, other.path)
    state, name = run.state, id_of(emulator, run.path)
    of_another = LedgerJob(name, "RUNNING", True, run=RunKey("its_dag", "its_run"))
    for chosen, entry, why in (
        (id_of(emulator, other.path), None, "on another path"),
        ("nobody's", None, "neither the status nor the history"),
        ("' OR 1=1 --", None, "neither the status nor the history"),
        ("<script>alert(1)</script>", None, "neither the status nor the history"),
        (name, of_another, "run its_run of its_dag has it already"),
    ):
        with pytest.raises(NotSettledError, match=why):
            settle(run, chosen, entry)
    assert run.state == state
    assert settle(run, name, LedgerJob(name, "RUNNING", True))["phase"] == Phase.FOLLOWING, "somebody's, as it seems"


def last_noted(noted: list[Note], name: str) -> LedgerJob | None:
    """What the ledger has of a job by these notes."""
    found = [note for note in noted if note.processing_id == name]
    return LedgerJob(name, "RUNNING", True, run=found[-1].run, map_index=found[-1].map_index) if found else None


def two_in_doubt(emulator: EmulatorProcess, begin: Begin) -> tuple[PathRun, PathRun, str]:
    """Two runs that ask for the same, both in doubt; and the one job that came of it."""
    first = begin(rate=1000)
    leave_in_doubt(emulator, first)
    second = begin(first.path, run_id="second")
    leave_in_doubt(emulator, second, accepted=False)
    return first, second, id_of(emulator, first.path)


@every_way
def test_of_two_runs_in_doubt_only_one_can_have_the_job_also_before_it_has_gone_on(
    emulator: EmulatorProcess, begin: Begin, noted: list[Note]
) -> None:
    first, second, name = two_in_doubt(emulator, begin)
    for _ in range(2):  # again, after a crash
        settle_with(first, name, lambda _, of: last_noted(noted, of))
    before = second.state
    with pytest.raises(NotSettledError, match="run run of dag has it already"):
        settle_with(second, name, lambda _, of: last_noted(noted, of))
    assert second.state == before
    (note,) = {(note.processing_id, note.run, note.map_index) for note in noted}
    assert note == (name, RunKey("dag", "run"), -1)
    assert go_on(first) == "SUCCESS"


@one_way
def test_of_two_runs_that_choose_one_job_at_once_the_later_one_is_in_doubt_again(
    emulator: EmulatorProcess, begin: Begin, noted: list[Note]
) -> None:
    first, second, name = two_in_doubt(emulator, begin)
    looks: list[str] = []

    def overtaken(_: str, of: str) -> LedgerJob | None:
        looks.append(of)
        if len(looks) == 2:
            settle_with(first, name, lambda *_: None)
        return last_noted(noted, of)

    before = second.state
    assert before is not None
    with pytest.raises(NotSettledError, match="run run of dag has it already"):
        settle_with(second, name, overtaken)
    after = second.state
    assert after is not None
    assert (after.doubtful, after.intent, after.settled_at) == (True, before.intent, None)
    assert len(second.register.doubts) == 2
    assert settle_with(second, None, lambda *_: None)["processing_id"] is None
    assert go_on(first) == "SUCCESS"


@one_way
def test_the_second_of_two_who_settle_at_once_is_refused(emulator: EmulatorProcess, begin: Begin) -> None:
    run = begin(rate=1000)
    leave_in_doubt(emulator, run)
    name = id_of(emulator, run.path)
    settle(run, name)
    with pytest.raises(NotSettledError, match=f"somebody has settled this already, and chose {name}"):
        settle(run, None)
    assert go_on(run) == "SUCCESS"
    assert len(emulator.jobs(run.path)) == 1


@one_way
@pytest.mark.parametrize("who", ["another person", "a clear"])
def test_a_choice_that_was_written_over_in_the_same_moment_does_not_count(
    emulator: EmulatorProcess, begin: Begin, monkeypatch: pytest.MonkeyPatch, who: str
) -> None:
    run = begin()
    leave_in_doubt(emulator, run)
    doubtful = run.state
    assert doubtful is not None
    assert doubtful.intent is not None
    if who == "a clear":
        theirs = doubtful.anew()
    else:
        theirs = settled_by(doubtful, doubtful.intent.at, None, 0.0)
    save = PathStore.save

    def overtaken(store: PathStore, state: PathState) -> None:
        save(store, state)
        run.register.set(store.key, encoded(theirs))

    with monkeypatch.context() as patch:
        patch.setattr(PathStore, "save", overtaken)
        with pytest.raises(NotSettledError, match="This choice does not count"):
            settle(run, id_of(emulator, run.path))


@one_way
def test_a_try_that_was_faster_is_not_written_over(
    emulator: EmulatorProcess, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begin()
    leave_in_doubt(emulator, run)
    doubtful = run.state
    assert doubtful is not None

    def late(state: PathState, at: int, job: Job | None, now: float) -> PathState:
        found = settled_by(state, at, job, now)
        run.register.set(run.register.doubts[0].state_key, encoded(doubtful.anew()))
        return found

    with monkeypatch.context() as patch:
        patch.setattr("aem_guides.pipelines.doubt.settle", late)
        with pytest.raises(NotSettledError, match="This choice does not count"):
            settle(run, None)
    assert run.state == doubtful.anew()


@one_way
def test_a_state_that_was_deleted_and_a_connection_that_leads_elsewhere_settle_nothing(
    emulator: EmulatorProcess, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begin()
    leave_in_doubt(emulator, run)
    (doubt,) = run.register.doubts
    with monkeypatch.context() as patch:
        elsewhere = emulator.connection(read_timeout=5).replace("127.0.0.1", "localhost")
        patch.setenv("AIRFLOW_CONN_AEM_GUIDES_DEFAULT", elsewhere)
        with pytest.raises(ConfigurationError, match=r"led to 127\.0\.0\.1"):
            settle(run, None)
    run.register.delete(doubt.state_key)
    with pytest.raises(NotSettledError, match="was deleted"):
        settle(run, None)
    PathStore(doubt.state_key).delete()
    assert run.register.doubts == []


@one_way
def test_a_path_whose_run_was_deleted_is_forgotten(
    emulator: EmulatorProcess, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begin()
    leave_in_doubt(emulator, run)
    monkeypatch.setattr("aem_guides.pipelines.doubt.run_state", lambda *_: None)
    (doubt,) = run.register.doubts
    for chosen in (id_of(emulator, run.path), None):
        with pytest.raises(NotSettledError, match="its run was deleted"):
            settle(run, chosen)
    with monkeypatch.context() as patch:
        patch.setattr("aem_guides.pipelines.doubt.run_state", lambda *_: "failed")
        patch.setattr("aem_guides.pipelines.doubt.states_in_task", lambda *_: frozenset({"failed"}))
        with pytest.raises(NotSettledError, match="Its task has failed and waits"):
            forget_doubt(doubt.name)
    assert run.register.doubts == [doubt]
    with monkeypatch.context() as patch:
        patch.setattr("aem_guides.pipelines.doubt.run_state", lambda *_: "success")
        patch.setattr("aem_guides.pipelines.doubt.states_in_task", lambda *_: frozenset({"success"}))
        forget_doubt(doubt.name)
    assert run.register.doubts == []
    assert run.state is not None, "a Clear later on still finds it in doubt"
    run.register.set(f"doubt:{doubt.state_key}", doubt.to_json())
    forget_doubt(doubt.name)
    assert run.register.doubts == []
    assert run.state is None
    with pytest.raises(NotSettledError, match="forgotten already"):
        forget_doubt(doubt.name)


@one_way
@pytest.mark.parametrize("left", ["a state that is in no doubt", "no state"])
def test_a_doubt_that_a_dying_process_left_on_the_list_is_forgotten(
    emulator: EmulatorProcess, begin: Begin, left: str
) -> None:
    run = begin()
    leave_in_doubt(emulator, run, accepted=False)
    (doubt,) = run.register.doubts
    assert go_on(run) == "SUCCESS"
    if left == "no state":
        run.register.delete(doubt.state_key)
    state = run.state
    run.register.set(f"doubt:{doubt.state_key}", doubt.to_json())
    forget_doubt(doubt.name)
    assert run.register.doubts == []
    assert run.state == state


@pytest.mark.parametrize("name", [None, "", "path:0@1", "path:" + "0" * 64, f"path:{'0' * 64}@x", "x" * 2000, 7])
def test_what_names_no_doubt_is_refused_before_anything_is_asked(register: KeptNotes, name: object) -> None:
    with pytest.raises(InvalidInputError, match="doubt"):
        settle_doubt(Task("control_job").context(), None, name, None, lambda *_: None)  # type: ignore[arg-type]
    assert register.past == []


def test_what_is_listed_is_read_as_it_was_written_and_nothing_else_is() -> None:
    task: JsonObject = {"dag_id": "d", "run_id": "r", "task_id": "t", "map_index": 3}
    whole: JsonObject = {
        "state_key": "path:1",
        "asker": {"task": task, "connection_id": "c"},
        "path": "/content/dam/a",
        "instance": None,
        "at": 5,
    }
    found = Doubt.from_json(whole)
    assert found is not None
    assert found.to_json() == whole
    others: list[JsonValue] = [None, [], {"state_key": "path:1"}, {**whole, "at": "x"}]
    assert [Doubt.from_json(other) for other in others] == [None] * 4


@every_way
def test_a_resume_in_doubt_goes_on_with_the_job_that_a_person_chose_and_is_not_sent_again(
    emulator: EmulatorProcess, begin: Begin
) -> None:
    run = begin()
    emulator.virtual_folder(run.path, 20, rate=20, fail_at=0.5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(go_on_procedure, "resume_once", answered_in_riddles)
        run.to_the_end()
    waits = "wait" if run.way.five_tasks else "batch"
    assert "Settle it on the page AEM Guides" in str(run.errors[waits])
    (doubt,) = run.register.doubts
    assert doubt.asker.task.task_id == (f"{GROUP}.wait" if run.way.five_tasks else GROUP)
    settle(run, id_of(emulator, run.path))
    run.clear(waits)
    assert run.play(waits)
    assert (run.outcome["state"], run.outcome["resumes"]) == ("SUCCESS", 1)
    assert [job["resumes"] for job in emulator.jobs(run.path)] == [1]
    assert run.register.doubts == []


def answered_in_riddles(talk: Conversation, job: Job, request: ProcessingRequest, *, run: str) -> Steps[str]:
    """A resume that the instance took, of which nobody can tell what came."""
    yield from resume_once(talk, job, request, run=run)
    raise DoubtfulStartError("A resume was sent.")
