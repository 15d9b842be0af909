"""The links of tasks: only if there is something to show, never with a login, never an error."""

from __future__ import annotations

import json
from typing import cast

import pytest
from airflow.sdk import BaseOperatorLink
from airflow.sdk.types import TaskInstanceKey
from airflow.serialization.serialized_objects import OperatorSerialization

from aem_guides.operators import (
    AemGuidesArchiveLogsOperator,
    AemGuidesHistoryOperator,
    AemGuidesStartProcessingOperator,
    AemGuidesVerifyAssetsOperator,
)
from aem_guides.operators.links import AemFolderLink, ArchiveLink, BulkProcessorLink, archive_page, console_page
from aem_guides.operators.process import AemGuidesProcessAssetsOperator
from aem_guides.sensors import AemGuidesProcessingSensor
from tests.support.tasks import Run, Task

URI = "file:///archive/author.example.com/2026/01/31/job-1/logs.zip"


def finished(*, map_index: int = -1) -> Task:
    """A task that has ended."""
    return Task("archive", map_index, run=Run("a dag", "manual__2026-01-31T00:00:00+00:00"))


def link(kind: BaseOperatorLink, operator: object, task: Task | None = None) -> str:
    return kind.get_link(operator, ti_key=cast("TaskInstanceKey", task or finished()))  # type: ignore[arg-type]  # any operator


@pytest.fixture(autouse=True)
def _connection(monkeypatch: pytest.MonkeyPatch) -> None:
    reported = {"conn_type": "aem_guides", "host": "https://author.example.com", "login": "u", "password": "p"}
    monkeypatch.setenv("AIRFLOW_CONN_AEM_GUIDES_DEFAULT", json.dumps(reported))
    reported["extra"] = json.dumps({"bulk_processor_page": "/libs/bulk.html"})
    monkeypatch.setenv("AIRFLOW_CONN_WITH_PAGE", json.dumps(reported))
    monkeypatch.setenv("AIRFLOW_CONN_WITH_LOGIN", json.dumps(reported | {"host": "https://u:p@author.example.com"}))


def start(**fields: object) -> AemGuidesStartProcessingOperator:
    return AemGuidesStartProcessingOperator(task_id="start", **fields)  # type: ignore[arg-type]  # the fields of its own


@pytest.mark.parametrize(
    ("path", "page"),
    [
        ('/content/dam/été "50"/a+b', "/assets.html/content/dam/%C3%A9t%C3%A9%20%2250%22/a%2Bb"),
        ("/content/dam/v1.2/map.ditamap", "/assetdetails.html/content/dam/v1.2/map.ditamap"),
        ("/content/dam/v1.2/maps", "/assets.html/content/dam/v1.2/maps"),
    ],
)
def test_a_folder_is_opened_and_an_asset_is_shown(path: str, page: str) -> None:
    assert console_page(path) == page


def test_the_path_is_the_task_s_own_or_its_request_s_or_its_job_s() -> None:
    page = "https://author.example.com/assets.html/content/dam/a"
    request = {"path": "/content/dam/a"}
    for operator in (
        start(path="/content/dam/a/"),
        start(request=request),
        AemGuidesVerifyAssetsOperator(task_id="verify", request=request),
        AemGuidesProcessingSensor(task_id="wait", job={"processing_id": "1", "path": "/content/dam/a"}),
    ):
        assert link(AemFolderLink(), operator) == page


@pytest.mark.parametrize("path", [None, "{{ params.path }}", "content/dam/a", "/etc/passwd", "/content/../etc", 7])
def test_without_a_path_that_can_be_processed_there_is_no_folder(path: object) -> None:
    assert link(AemFolderLink(), start(path=path)) == ""


def test_the_bulk_processor_s_page_is_the_connection_s_or_the_start_page() -> None:
    base = "https://author.example.com"
    assert link(BulkProcessorLink(), AemGuidesHistoryOperator(task_id="h")) == f"{base}/aem/start.html"
    operator = AemGuidesHistoryOperator(task_id="h", aem_guides_conn_id="with_page")
    assert link(BulkProcessorLink(), operator) == f"{base}/libs/bulk.html"


@pytest.mark.parametrize("conn_id", ["nobody_made_this", "with_login", "{{ params.connection_id }}"])
def test_without_a_connection_that_can_be_used_there_is_no_link_to_the_instance(conn_id: str) -> None:
    operator = start(path="/content/dam/a", aem_guides_conn_id=conn_id)
    assert link(AemFolderLink(), operator) == link(BulkProcessorLink(), operator) == ""


@pytest.mark.parametrize(
    ("base", "page"),
    [
        ("https://files.example.com/aem/", "https://files.example.com/aem/author.example.com/2026/01/31/job-1/"),
        (
            "https://console.example.com/b?prefix=",
            "https://console.example.com/b?prefix=author.example.com/2026/01/31/job-1/",
        ),
        ("", ""),
        ("file:///archive/", ""),
        ("javascript:alert(1)//", ""),
        ("https://user:p@files.example.com/", ""),
        ("https://[", ""),
    ],
)
def test_an_archive_has_a_page_if_the_configuration_has_a_web_address(base: str, page: str) -> None:
    assert archive_page(base, URI) == page


def test_without_one_the_archive_s_link_leads_to_the_xcoms_with_its_uri() -> None:
    operator = AemGuidesArchiveLogsOperator(task_id="archive", processing_id="1")
    run = "/dags/a%20dag/runs/manual__2026-01-31T00%3A00%3A00%2B00%3A00/tasks/archive"
    operator.archived = URI
    assert link(ArchiveLink(), operator, finished()).endswith(f"{run}/xcom")
    assert link(ArchiveLink(), operator, finished(map_index=3)).endswith(f"{run}/mapped/3/xcom")


def test_without_an_archive_there_is_no_link_and_no_error_in_airflow_s_log() -> None:
    operator, task = AemGuidesArchiveLogsOperator(task_id="archive", processing_id="1"), finished()
    assert link(ArchiveLink(), operator, task) == ""
    assert task.run.asked_in_vain == []


def test_each_operator_with_the_archive_link_sets_its_archive() -> None:
    kinds = (AemGuidesArchiveLogsOperator, AemGuidesVerifyAssetsOperator, AemGuidesProcessAssetsOperator)
    for kind in kinds:
        assert ArchiveLink in {type(shown) for shown in kind.operator_extra_links}
        assert kind.archived is None


def test_the_links_are_known_to_the_api_server_by_name_and_xcom() -> None:
    operator = AemGuidesArchiveLogsOperator(task_id="archive", processing_id="1")
    encoded = OperatorSerialization.serialize_operator(operator)
    assert encoded["_operator_extra_links"] == {
        "AEM folder": "_link_AemFolderLink",
        "Bulk Processor": "_link_BulkProcessorLink",
        "Archive": "_link_ArchiveLink",
    }
