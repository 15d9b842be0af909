"""The extra links of the tasks: the folder in the AEM console, the Bulk Processor, the archive.

Airflow's task runner evaluates them when a try ends or defers, whatever its result, and stores the answers as XComs of
the task instance; the API server only reads these. So a link has the rendered fields of its own try and map index, and
exists for failed tries and for deferred tries that were killed. A link with an unknown target is empty and is not
shown. No link contains a credential: base URLs with user information are refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, cast
from urllib.parse import quote, urlsplit

from airflow.sdk import BaseHook, BaseOperatorLink
from airflow.sdk.configuration import conf
from airflow.sdk.exceptions import AirflowException, AirflowRuntimeError

from aem_guides.hooks.connection import InstanceSettings, read_connection
from aem_guides.hooks.connection_fields import ConnectionLike
from aem_guides.protocol.errors import ConfigurationError, InvalidInputError
from aem_guides.protocol.requests import parse_path

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
    from airflow.sdk.types import TaskInstanceKey

# <instance host>/<yyyy>/<mm>/<dd>/<job>/logs.zip
_ARCHIVE_PLACE_PARTS = 6


class AemFolderLink(BaseOperatorLink):
    """The processed folder or asset, in the assets console of the instance."""

    @property
    def name(self) -> str:
        """The label of the button."""
        return "AEM folder"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """The console's address, or "" if the task has no path or its connection cannot be read."""
        path, settings = _processed_path(operator), _settings(operator)
        return settings.base_url + console_page(path) if path and settings else ""


class BulkProcessorLink(BaseOperatorLink):
    """The Bulk Processor of the instance, or its start page if the connection does not name the page."""

    @property
    def name(self) -> str:
        """The label of the button."""
        return "Bulk Processor"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """The page's address, or "" if the connection cannot be read."""
        settings = _settings(operator)
        return settings.base_url + settings.bulk_processor_page if settings else ""


class ArchiveLink(BaseOperatorLink):
    """The archive that this try stored: below `[aem_guides] archive_url`, otherwise the XComs, which have its URI.

    The operator's `archived` is the URI of a file in the archive, or None before there is one. (Airflow logs an error
    if a missing XCom is read.)
    """

    @property
    def name(self) -> str:
        """The label of the button."""
        return "Archive"

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """The archive's address, or "" if none was stored."""
        instance = cast("RuntimeTaskInstance", ti_key)  # the task runner hands over more than the key
        uri = getattr(operator, "archived", None)
        if not isinstance(uri, str):
            return ""
        base = str(conf.get("aem_guides", "archive_url", fallback=""))
        return archive_page(base, uri) or _xcom_page(instance)


def console_page(path: str) -> str:
    """The console's page of a repository path. A path with a dot in its last part is an asset: AEM forbids dots in
    folder names."""
    page = "/assetdetails.html" if "." in path.rpartition("/")[2] else "/assets.html"
    return page + quote(path, safe="/")


def archive_page(base: str, uri: str) -> str:
    """The address of the archive's folder, or "" if `base` is not an http(s) address without a login."""
    try:
        parts = urlsplit(base)
    except ValueError:
        return ""
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        return ""
    place = uri.split("/")[-_ARCHIVE_PLACE_PARTS:-1]
    return base + quote("/".join(place), safe="/") + "/"


def _xcom_page(instance: RuntimeTaskInstance) -> str:
    """The task instance's XComs in the Airflow UI; relative if Airflow does not know its own address."""
    base = str(conf.get("api", "base_url", fallback="")).rstrip("/")
    if base and urlsplit(base).scheme not in ("http", "https"):
        return ""
    index = _map_index(instance)
    mapped = "" if index is None else f"/mapped/{index}"
    run = f"/dags/{quote(instance.dag_id, safe='')}/runs/{quote(instance.run_id, safe='')}"
    return f"{base}{run}/tasks/{quote(instance.task_id, safe='')}{mapped}/xcom"


def _map_index(instance: RuntimeTaskInstance) -> int | None:
    """None for a task that is not mapped."""
    index = instance.map_index
    return None if index is None or index < 0 else index


def _processed_path(operator: BaseOperator) -> str | None:
    """The path from the operator's rendered fields: its own, that of its request, or that of its job."""
    job = getattr(operator, "job", None)
    holders = (vars(operator), getattr(operator, "request", None), job)
    for holder in holders:
        found = holder.get("path") if isinstance(holder, Mapping) else None
        try:
            return parse_path("path", found)
        except InvalidInputError:
            continue
    return None


def _settings(operator: BaseOperator) -> InstanceSettings | None:
    conn_id = getattr(operator, "aem_guides_conn_id", None)
    if not isinstance(conn_id, str):
        return None
    try:
        return read_connection(cast("ConnectionLike", BaseHook.get_connection(conn_id)))
    except (AirflowException, AirflowRuntimeError, ConfigurationError):
        return None


INSTANCE_LINKS: tuple[BaseOperatorLink, ...] = (AemFolderLink(), BulkProcessorLink())
ARCHIVE_LINKS: tuple[BaseOperatorLink, ...] = (*INSTANCE_LINKS, ArchiveLink())
