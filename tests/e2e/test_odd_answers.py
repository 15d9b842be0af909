"""Jobs with texts that no database stores, on the real Airflow with PostgreSQL."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

from tests.support.airflow_stack import PULL, WAIT
from tests.support.instances import FAST, SLOW
from tests.support.runs import Run, pulled_lines
from tests.support.together import Played, Scenario, Stage, scenarios

ODD = "half an emoji \ud83d, NUL \x00"
CLEAN = "half an emoji �, NUL �"
FILES = 40


def a_job_with_texts_that_no_database_stores_runs_green_and_disturbs_nothing(stage: Stage) -> None:
    airflow = stage.airflow
    waiting = Run.begin(stage.common, rate=SLOW, files=FILES)
    waiting.wait_for_progress()
    triggerer = airflow.stack.programs.running["triggerer"].pid
    with stage.instances.new() as instance:
        fields = json.dumps({"comments": ODD, "createdBy": ODD, "path": ODD})
        for endpoint in ("status", "history"):
            instance.emulator.fault(endpoint, "odd_fields", count=None, body=fields)
        instance.emulator.fault("logs", "odd_lines", count=None, body=json.dumps(ODD))
        odd = Run.begin(instance, rate=FAST, files=FILES)
        assert odd.end() == "success", airflow.account(odd.run_id)
        (job,) = odd.jobs()
        assert job["state"] == "SUCCESS"
        logged = instance.emulator.log_lines(str(job["processing_id"]))
        assert pulled_lines(odd.log(PULL)) == [f"{line}{CLEAN}" for line in logged]
        row = odd.row()
        assert (row["state"], row["log_lines"]) == ("SUCCESS", len(logged))
        with zipfile.ZipFile(Path(str(row["archive_uri"]).removeprefix("file://"))) as archive:
            assert archive.testzip() is None
    waiting.hasten()
    assert waiting.end() == "success"
    assert waiting.tries(WAIT) == 1, "it was not disturbed"
    assert airflow.stack.programs.running["triggerer"].pid == triggerer, "the triggerer is the same"


@scenarios(a_job_with_texts_that_no_database_stores_runs_green_and_disturbs_nothing)
def test_odd_answers_end_no_triggerer(played: Played, scenario: Scenario) -> None:
    played.result(scenario)
