"""What the last weeks looked like: charts, and the numbers behind each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from fastapi import APIRouter, HTTPException, Request, Response

from aem_guides.console import asked
from aem_guides.console.access import VisitorDep
from aem_guides.console.rendering import POLICY_OF_CHARTS, STATES, address, page
from aem_guides.ledger.clock import now_ms
from aem_guides.ledger.lookup import Lookup
from aem_guides.ledger.trends import Span, Trends, trends
from aem_guides.runtime.sheets import as_csv

router = APIRouter()
DAY_MS = 24 * 3600 * 1000
SPANS = (7, 14, 30, 90, 365)
USUAL = 14
LONGEST_DAYS = 3 * 366
Cell = str | int | float


@dataclass(frozen=True)
class Table:
    """The numbers of a chart."""

    name: str
    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True)
class Chart:
    """A chart of bars: `values` are numbers, each series named, with the look of a state where it is one."""

    table: Table
    kind: str
    labels: tuple[str, ...]
    series: tuple[tuple[str, str, tuple[float, ...]], ...]
    unit: str = ""

    def to_json(self) -> str:
        """What the script of the page draws."""
        return json.dumps({"kind": self.kind, "labels": self.labels, "series": self.series, "unit": self.unit})


@router.get("/trends")
def trend_page(request: Request, visitor: VisitorDep) -> Response:
    """The charts."""
    complaints: list[str] = []
    span, chosen = _span(request, complaints)
    with Lookup() as ledger:
        instances = ledger.instances()
        found = trends(ledger, span)
    shown = page(
        request,
        "trends.html",
        visitor=visitor,
        charts=charts(found),
        instances=instances,
        chosen=chosen,
        spans=SPANS,
        complaints=complaints,
        span=span,
        csv_of=lambda name: address("numbers", table=name, **chosen),
    )
    shown.headers["content-security-policy"] = POLICY_OF_CHARTS
    return shown


@router.get("/numbers")
def numbers(request: Request, visitor: VisitorDep, table: str) -> Response:
    """The numbers of one chart as CSV."""
    del visitor  # has been let in
    span, _ = _span(request, [])
    with Lookup() as ledger:
        found = {chart.table.name: chart.table for chart in charts(trends(ledger, span))}
    if table not in found:
        raise HTTPException(404)
    headers = {"content-disposition": f'attachment; filename="aem-guides-{table}.csv"'}
    text = as_csv([found[table].header, *found[table].rows])
    return Response(text, media_type="text/csv; charset=utf-8", headers=headers)


def _span(request: Request, complaints: list[str]) -> tuple[Span, dict[str, str | None]]:
    """The span that is asked for: the last days, or the days between."""
    query = request.query_params
    told = query.get("days", "")
    days = int(told) if told in map(str, SPANS) else USUAL
    until = asked.day(query, "until", complaints, after=True)
    since = asked.day(query, "since", complaints)
    end = until if until is not None else now_ms() + 1
    start = since if since is not None else max(0, end - days * DAY_MS)
    if start >= end:
        complaints.append("The span ends before it begins: these are the last days.")
        end = now_ms() + 1
        start = end - days * DAY_MS
    if end - start > LONGEST_DAYS * DAY_MS:
        complaints.append("The span is longer than three years: this is its end.")
        start = end - LONGEST_DAYS * DAY_MS
    chosen = {name: asked.words(query, name) for name in ("instance", "since", "until", "offset")}
    chosen["since"], chosen["until"] = (
        chosen[name] if read is not None else None for name, read in (("since", since), ("until", until))
    )
    chosen["days"] = None if since is not None else str(days)
    return Span(start, end, chosen["instance"], asked.offset(query)), chosen


def charts(found: Trends) -> list[Chart]:
    """The charts of a span; none where nothing was done in it."""
    return [*_by_day(found), *_by_folder(found), *_by_finding(found)]


def _by_day(found: Trends) -> list[Chart]:
    if not found.days:
        return []
    days = tuple(sorted({entry.day for entry in found.days}))
    states = [state for state in STATES if any(entry.state == state for entry in found.days)]
    count = {(entry.day, entry.state): entry.jobs for entry in found.days}
    rows: tuple[tuple[Cell, ...], ...] = tuple((day, *(count.get((day, state), 0) for state in states)) for day in days)
    words = [STATES[state][0] for state in states]
    series = tuple(
        (STATES[state][0], STATES[state][1], tuple(float(count.get((day, state), 0)) for day in days))
        for state in states
    )
    jobs = Chart(Table("jobs", "Jobs a day, by state", ("day", *words), rows), "stacked", days, series, "jobs")
    assets = {day: sum(entry.assets for entry in found.days if entry.day == day) for day in days}
    hours = {day: sum(entry.seconds for entry in found.days if entry.day == day) / 3600 for day in days}
    rate = {day: round(assets[day] / hours[day], 1) if hours[day] else 0.0 for day in days}
    told = tuple((day, assets[day], round(hours[day], 2), rate[day]) for day in days)
    header = ("day", "assets", "hours of processing", "assets an hour")
    table = Table("assets", "Assets an hour of processing", header, told)
    return [jobs, Chart(table, "bars", days, (("Assets an hour", "brand", tuple(rate.values())),), "assets an hour")]


def _by_folder(found: Trends) -> list[Chart]:
    if not found.folders:
        return []
    paths = tuple(folder.path for folder in found.folders)
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (
            folder.path,
            folder.jobs,
            folder.assets,
            round(folder.average_seconds, 1),
            round(folder.longest_seconds, 1),
            round(folder.assets_an_hour, 1),
        )
        for folder in found.folders
    )
    header = ("path", "jobs", "assets", "average seconds", "longest seconds", "assets an hour")
    minutes = tuple(round(folder.average_seconds / 60, 2) for folder in found.folders)
    rates = tuple(round(folder.assets_an_hour, 1) for folder in found.folders)
    longest = "the folders that took the longest in all"
    durations = Table("durations", f"Average duration, {longest}", header, rows)
    throughput = Table("throughput", f"Throughput, {longest}", header, rows)
    return [
        Chart(durations, "lying", paths, (("Minutes", "brand", minutes),), "minutes"),
        Chart(throughput, "lying", paths, (("Assets an hour", "brand", rates),), "assets an hour"),
    ]


def _by_finding(found: Trends) -> list[Chart]:
    if not found.findings:
        return []
    kinds = tuple(kind.replace("_", " ") for kind, _ in found.findings)
    table = Table("findings", "Findings by kind", ("kind", "findings"), found.findings)
    counts: Sequence[float] = [float(count) for _, count in found.findings]
    return [Chart(table, "lying", kinds, (("Findings", "warning", tuple(counts)),), "findings")]
