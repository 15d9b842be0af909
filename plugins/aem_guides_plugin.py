"""The one file of this folder that Airflow's plugin loader runs; the package beside it is imported as a package."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin


class AemGuidesPlugin(AirflowPlugin):
    """Names the project among the plugins."""

    name = "aem_guides"
