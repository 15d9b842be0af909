"""### Publish after processing (an example)

Shows how your own DAG can start when content was processed: by a run of Airflow, or by another user, such as an author
in the Bulk Processor.

**When it runs**: when a run has processed `/content/dam/manuals` successfully, and when another user's job on this
folder, or on a folder in it, succeeds. `ignore_users` has the user of the connection: the runs report its jobs already,
and without it each of them would be reported twice. Set your own instance, path, user and work before you unpause the
DAG. A paused DAG watches nothing.

**If it fails**: the example only returns the jobs. Describe here what to do if your own task fails.
"""

from __future__ import annotations

from airflow.sdk import DAG, get_current_context, task

from aem_guides.assets import watched_asset
from aem_guides.pipelines.process import default_args

MANUALS = watched_asset("author.example.com", "/content/dam/manuals", ignore_users=["airflow"])

with DAG(
    dag_id="aem_guides_publish_after_processing",
    dag_display_name="AEM Guides: publish after processing (example)",
    description="An example of a DAG that starts when content was processed, whoever started the job",
    doc_md=__doc__,
    schedule=[MANUALS],
    catchup=False,
    is_paused_upon_creation=True,
    default_args=default_args(),
    tags=["aem-guides", "example"],
):

    @task
    def publish() -> list[str]:
        """Return the jobs of this run. Put your own publishing here."""
        events = get_current_context()["triggering_asset_events"][MANUALS]
        jobs = [event.extra.get("payload") or event.extra for event in events]
        return [str(job["processing_id"]) for job in jobs]

    publish()
