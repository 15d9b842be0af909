"""A user's own DAG, in an environment with the wheel and nothing else of the project."""

from __future__ import annotations

import json
from typing import Any

from airflow.sdk import DAG

from aem_guides.operators import (
    AemGuidesArchiveLogsOperator,
    AemGuidesCheckInstanceOperator,
    AemGuidesPullLogsOperator,
    AemGuidesStartProcessingOperator,
    AemGuidesVerifyAssetsOperator,
)
from aem_guides.sensors import AemGuidesProcessingSensor

PATH = "/content/dam/aurora/guides"
ID = "{{ ti.xcom_pull('wait', key='processing_id') }}"

with DAG(dag_id="installed", schedule=None, catchup=False) as dag:
    check = AemGuidesCheckInstanceOperator(task_id="check")
    start = AemGuidesStartProcessingOperator(task_id="start", path=PATH)
    wait = AemGuidesProcessingSensor(task_id="wait", job=start.output)  # type: ignore[arg-type]  # a task's result
    pull = AemGuidesPullLogsOperator(task_id="pull", processing_id=ID)
    archive = AemGuidesArchiveLogsOperator(task_id="archive", processing_id=ID)
    verify = AemGuidesVerifyAssetsOperator(task_id="verify", path=PATH)
    check >> start >> wait >> [pull, archive, verify]

if __name__ == "__main__":
    run: Any = dag.test()
    instances = {instance.task_id: instance for instance in run.get_task_instances()}
    print(
        json.dumps(
            {
                "state": run.state,
                "lines": instances["pull"].xcom_pull(task_ids="pull")["lines"],
                "archive": instances["archive"].xcom_pull(task_ids="archive")["uri"],
                "folder": instances["verify"].xcom_pull(task_ids="verify", key="_link_AemFolderLink"),
            }
        )
    )
