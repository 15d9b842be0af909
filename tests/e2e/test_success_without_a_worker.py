"""A waiting task whose job succeeded is ended by its trigger, and looks as if a worker had ended it."""

from __future__ import annotations

from tests.support.airflow_stack import START, WAIT
from tests.support.runs import FILES, Run
from tests.support.together import Played, Scenario, Stage, lasting, scenarios


@lasting
def the_trigger_ends_the_wait_with_its_results_and_clear_runs_it_again(stage: Stage) -> None:
    run = Run.begin(stage.common)
    run.wait_for_progress()
    run.hasten()
    assert run.end() == "success"
    assert run.starts(WAIT) == 1, run.whole_log(WAIT)
    assert any(f" succeeded: {FILES} of {FILES} assets" in line for line in run.log(WAIT))
    assert last_words(run) == {"worker": 0, "trigger": 1}
    assert is_well_reported(run)
    instance = stage.airflow.instance(run.run_id, WAIT, run.index)
    assert instance["start_date"] < instance["end_date"]

    run.clear(WAIT)
    assert run.end() == "success"
    assert (run.tries(WAIT), run.starts(WAIT)) == (2, 2)
    assert is_well_reported(run)
    assert len(run.jobs()) == 1

    run.clear(START)
    assert run.end() == "success"
    assert (run.tries(WAIT), run.starts(WAIT)) == (3, 3), "its trigger has ended this try, too"
    assert is_well_reported(run)
    assert [job["state"] for job in run.jobs()] == ["SUCCESS", "SUCCESS"]
    assert run.times_processed() == [2] * FILES


def last_words(run: Run) -> dict[str, int]:
    """How many log files of the first try of the wait say that the job succeeded, by who wrote them."""
    folder = run.airflow.folder / "airflow" / "logs" / f"dag_id={run.dag_id}" / f"run_id={run.run_id}"
    files = list((folder / f"task_id={WAIT}" / f"map_index={run.index}").glob("attempt=1.log*"))
    said = [".trigger." in file.name for file in files if " succeeded: " in file.read_text()]
    return {"worker": said.count(False), "trigger": said.count(True)}


def is_well_reported(run: Run) -> bool:
    """Whether the last job succeeded, and the XComs of the wait and the report are about it."""
    (job,) = [job for job in run.jobs() if job["processing_id"] == run.xcom(WAIT, "processing_id")]
    outcome, row = run.xcom(WAIT, "outcome"), run.row()
    assert isinstance(outcome, dict)
    assert outcome == run.xcom(WAIT)
    assert run.xcom(WAIT, "earlier_processing_ids") == []
    assert str(run.xcom(WAIT, "state_key")).startswith("path:")
    ids = {outcome["processing_id"], row["processing_id"], job["processing_id"], run.jobs()[-1]["processing_id"]}
    assert len(ids) == 1, ids
    return {outcome["state"], row["state"], job["state"]} == {"SUCCESS"}


@scenarios(the_trigger_ends_the_wait_with_its_results_and_clear_runs_it_again)
def test_a_success_needs_no_worker(played: Played, scenario: Scenario) -> None:
    played.result(scenario)
