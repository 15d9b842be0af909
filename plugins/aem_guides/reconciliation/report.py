"""The report of a reconciliation: tables for the task log, Markdown and CSV for the archive, counts for other DAGs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeAlias

from airflow.sdk import ObjectStoragePath
from tabulate import tabulate

from aem_guides.protocol.models import JsonObject, JsonValue, number
from aem_guides.protocol.wording import counted, iso_time
from aem_guides.runtime import sheets
from aem_guides.storage import default_archive_uri, write

FOLDER = "reconciliations"
_JOB_COLUMNS = ("job", "path", "state", "assets", "started by", "log archived")
_FINDING_COLUMNS = ("severity", "kind", "processing_id", "text", "since", "remedy")

_Section: TypeAlias = tuple[str, Sequence[str], list[tuple[str, ...]]]


@dataclass(frozen=True)
class InstanceReport:
    """The findings on one instance, as `reconcile_window` returns them, or None if that failed."""

    connection_id: str
    result: Mapping[str, JsonValue] | None
    remedies: Sequence[Mapping[str, JsonValue]]

    @property
    def name(self) -> str:
        return str(self.result["instance"]) if self.result else self.connection_id

    def count(self, name: str) -> int:
        return number((self.result or {}).get(name)) or 0

    def jobs(self) -> list[tuple[str, ...]]:
        """The jobs in the window, one row each."""
        return [
            tuple(
                _said(entry.get(name))
                for name in ("processing_id", "path", "state", "assets", "started_by", "archived")
            )
            for entry in self.findings("jobs")
        ]

    def findings(self, name: str) -> list[Mapping[str, JsonValue]]:
        found = (self.result or {}).get(name)
        return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []

    @property
    def has_news(self) -> bool:
        return self.result is None or bool(self.findings("opened") or self.findings("closed") or self.remedies)

    def headline(self) -> str:
        """The instance in one sentence."""
        if self.result is None:
            return f"Reconciliation of {self.name} failed. Nothing was changed. The log of its tasks has the reason."
        dry = " (dry run: nothing was written)" if self.result.get("dry_run") else ""
        if self.result.get("superseded"):
            return f"Reconciliation of {self.name}: a later reconciliation was faster, so nothing was left to do."
        remedied = sum(bool(entry.get("succeeded")) for entry in self.remedies)
        remedies = (
            f"; {remedied} of {counted(len(self.remedies), 'remedy', 'remedies')} worked" if self.remedies else ""
        )
        return (
            f"Reconciliation of {self.name}{dry}: {counted(self.count('window'), 'job')} in the window, "
            f"{self.count('new_jobs')} of them new; {counted(len(self.findings('opened')), 'finding')} opened, "
            f"{len(self.findings('closed'))} closed, {len(self.findings('lasting'))} still open{remedies}."
        )


def counts(reports: Sequence[InstanceReport]) -> JsonObject:
    """For the asset event: totals, and the findings opened by kind."""
    kinds: dict[str, JsonValue] = {}
    for report in reports:
        for finding in report.findings("opened"):
            kind = str(finding.get("kind"))
            kinds[kind] = (number(kinds.get(kind)) or 0) + 1
    return {
        "instances": len(reports),
        "failed_instances": [report.name for report in reports if report.result is None],
        "new_jobs": sum(report.count("new_jobs") for report in reports),
        "opened": sum(len(report.findings("opened")) for report in reports),
        "closed": sum(len(report.findings("closed")) for report in reports),
        "lasting": sum(len(report.findings("lasting")) for report in reports),
        "remedies": sum(len(report.remedies) for report in reports),
        "failed_remedies": sum(_result(entry) == "failed" for report in reports for entry in report.remedies),
        "opened_by_kind": kinds,
    }


def as_text(report: InstanceReport) -> str:
    """One instance for the task log: the headline, and tables of new findings, open findings, and remedies."""
    tables = (f"{title}:\n{_table('simple', columns, rows)}" for title, columns, rows in _sections(report))
    return "\n".join([report.headline(), *tables])


def as_markdown(reports: Iterable[InstanceReport], at: datetime) -> str:
    """All instances as a Markdown document."""
    parts = [f"# Reconciliation of {at:%Y-%m-%d %H:%M:%S} UTC"]
    for report in reports:
        parts += [f"## {_cell(report.name)}", _cell(report.headline())]
        for title, columns, rows in _sections(report):
            parts += [f"### {title}", _table("github", columns, [map(_cell, row) for row in rows])]
    return "\n\n".join(parts) + "\n"


def _sections(report: InstanceReport) -> Iterator[_Section]:
    """The tables of an instance that have rows: title, columns, rows."""
    tables: list[_Section] = [("Jobs in the window", _JOB_COLUMNS, report.jobs())]
    for title, name in (("Found", "opened"), ("Lasting", "lasting"), ("Gone", "closed")):
        tables.append((title, _FINDING_COLUMNS, [_finding_row(entry) for entry in report.findings(name)]))
    tables.append(("Remedies", ("remedy", "job", "result"), [_remedy_row(entry) for entry in report.remedies]))
    return (table for table in tables if table[2])


def as_csv(reports: Iterable[InstanceReport]) -> str:
    """All findings, opened, open and closed, one row each."""
    rows = (
        (report.name, name, *_finding_row(entry))
        for report in reports
        for name in ("opened", "lasting", "closed")
        for entry in report.findings(name)
    )
    return sheets.as_csv((("instance", "status", *_FINDING_COLUMNS), *rows))


def store(reports: Sequence[InstanceReport], at: datetime, run_id: str) -> list[str]:
    """Write Markdown and CSV below the archive: `latest.*` always, and a dated pair if there is news.

    Returns the URIs. Raises ArchiveError.
    """
    base = ObjectStoragePath(default_archive_uri()) / FOLDER
    texts = {"md": as_markdown(reports, at), "csv": as_csv(reports)}
    places = [base / f"latest.{ending}" for ending in texts]
    if any(report.has_news for report in reports):
        day = base / f"{at:%Y}" / f"{at:%m}" / f"{at:%d}"
        name = f"{at:%H%M%S}-{re.sub(r'[^A-Za-z0-9._-]+', '_', run_id)[:80]}"
        places += [day / f"{name}.{ending}" for ending in texts]
    for place in places:
        write(place, texts[place.suffix.lstrip(".")].encode(errors="replace"), "Storing a reconciliation's report")
    return [str(place) for place in places]


def _said(value: JsonValue) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(value)


def _finding_row(entry: Mapping[str, JsonValue]) -> tuple[str, ...]:
    remedy = " ".join(str(entry[name]) for name in ("remedy", "remedy_state") if entry.get(name))
    return (
        str(entry.get("severity") or ""),
        str(entry.get("kind") or ""),
        str(entry.get("processing_id") or ""),
        str(entry.get("text") or ""),
        iso_time(number(entry.get("opened_at"))) or "",
        remedy,
    )


def _remedy_row(entry: Mapping[str, JsonValue]) -> tuple[str, ...]:
    return str(entry.get("remedy")), str(entry.get("processing_id") or ""), f"{_result(entry)}: {entry.get('note')}"


def _result(remedy: Mapping[str, JsonValue]) -> str:
    """Done, failed, or waits: it was not tried yet."""
    return "done" if remedy.get("succeeded") else "waits" if remedy.get("waits") else "failed"


def _table(form: str, columns: Sequence[str], rows: Iterable[Iterable[str]]) -> str:
    table: str = tabulate(rows, columns, form, disable_numparse=True)
    return table


def _cell(text: str) -> str:
    """Names come from the instance. They must not end a table cell or begin markup."""
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", " ".join(text.split()))


def now_utc() -> datetime:
    """The current time."""
    return datetime.now(tz=UTC)
