"""### Plans of AEM Guides processing

One DAG for each enabled plan of `include/plans.yaml`, called `aem_guides_plan_<name>`, with the tasks of the Airflow
DAG `aem_guides_process_assets`. Errors in a plan are shown as an import error of `aem_guides_plans_check.py`.
"""

from __future__ import annotations

from aem_guides.plans.dags import load_plan_dags

globals().update(load_plan_dags().dags)
