"""### Check of the plans

This file has no DAG. Its import error says which plan is wrong, and why. Airflow unschedules all DAGs of a file with an
import error, so the DAGs of the valid plans are in another file, `aem_guides_plans.py`.
"""

from __future__ import annotations

from aem_guides.plans.dags import check_plans

check_plans()
