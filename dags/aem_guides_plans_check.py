"""### Check of the plans

Has no DAG. Its import error tells what is wrong with which plan: Airflow takes all DAGs of a file with an import
error out of the schedule, so that the plans which are in order are made by another file, `aem_guides_plans.py`.
"""

from __future__ import annotations

from aem_guides.plans.dags import check_plans

check_plans()
