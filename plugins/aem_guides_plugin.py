"""The one file of this folder that Airflow's plugin loader runs; the package beside it is imported as a package."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin

# The scheduler and the DAG processor load plugins before they fork: a task whose process is a fork has this in memory
# then and need not import it, which costs half a second of processor time, more than the task itself.
import aem_guides.pipelines.batch  # noqa: F401


class AemGuidesPlugin(AirflowPlugin):
    """Names the project among the plugins."""

    name = "aem_guides"
