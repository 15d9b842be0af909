"""The only file of this folder that Airflow's plugin loader runs. The package beside it is imported as a package."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin

# The scheduler and the DAG processor load plugins before they fork. A task whose process is a fork has these modules in
# memory, and saves the import, which takes half a second of processor time, more than the task itself.
import aem_guides.pipelines.batch
import aem_guides.plans.dags  # noqa: F401
from aem_guides.console import PREFIX, VIEWS, LateApp


class AemGuidesPlugin(AirflowPlugin):
    """Shows the project in the list of plugins, and its console."""

    name = "aem_guides"
    fastapi_apps = [{"app": LateApp(), "url_prefix": PREFIX, "name": "AEM Guides"}]  # noqa: RUF012  # as Airflow declares it
    external_views = VIEWS
