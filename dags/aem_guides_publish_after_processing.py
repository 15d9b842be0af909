"""### Publish after processing (an example)

Shows how a DAG of yours starts when content has been processed: by a run of Airflow, or by anybody else, such as an
author in the Bulk Processor.

**When it runs**: when a run has processed `/content/dam/manuals` well, and when a job of anybody else on it, or on a
folder in it, was seen to succeed. `ignore_users` has the user of the connection, whose jobs the runs tell of: else each
of them is told twice. The DAG is paused until you have put your own instance, path, user and work in; a paused DAG
watches nothing.

**If it fails**: it only tells what was processed; what you put in its place decides.
"""

from __future__ import annotations

from airflow.sdk import DAG, get_current_context, task

from aem_guides.assets import watched_asset
from aem_guides.pipelines.process import default_args

MANUALS = watched_asset("author.example.com", "/content/dam/manuals", ignore_users=["airflow"])

with DAG(
    dag_id="aem_guides_publish_after_processing",
    dag_display_name="AEM Guides: publish after processing (example)",
    description="An example of a DAG that starts when content was processed, by whomever",
    doc_md=__doc__,
    schedule=[MANUALS],
    catchup=False,
    is_paused_upon_creation=True,
    default_args=default_args(),
    tags=["aem-guides", "example"],
):

    @task
    def publish() -> list[str]:
        """Tell which jobs this run is for; put your own publishing here."""
        events = get_current_context()["triggering_asset_events"][MANUALS]
        told = [event.extra.get("payload") or event.extra for event in events]
        return [str(job["processing_id"]) for job in told]

    publish()
