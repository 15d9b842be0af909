"""Lines that come after the end of a job are waited for, but no longer than necessary."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import parse_qs

from aem_guides.protocol.contract import read_job
from aem_guides.protocol.models import Job
from aem_guides.protocol.procedures.events import LogLines
from aem_guides.protocol.procedures.late_lines import read_settled_log, settle_log
from aem_guides.protocol.steps import HttpRequest, Reply
from tests.unit.protocol.driving import World, reply

NOW = 1_750_000_000
END = "2026-02-26 08:59:10:755: INFO: [BASELINE_MIGRATION] Bulk processing job completed [status=SUCCESS]. Exiting..."
LATE = "2026-02-26 08:59:14:755: INFO: [BASELINE_MIGRATION] Waiting for remaining assets: 3"


def ended(seconds_ago: float | None, status: str = "SUCCESS") -> Job:
    at = 0 if seconds_ago is None else round((NOW - seconds_ago) * 1000)
    return read_job({"processingId": "p", "status": status, "completedAt": at})


class Log:
    """A log that depends on the seconds that have passed."""

    def __init__(self, lines: Callable[[float], list[str]]) -> None:
        self.world = World(self.respond)
        self._lines = lines

    def respond(self, request: HttpRequest) -> Reply:
        query = {
            name: int(values[0])
            for name, values in parse_qs(request.target.partition("?")[2]).items()
            if "p" not in values
        }
        lines = self._lines(self.world.clock - NOW)
        if "tail" in query:
            return reply(200, {"lines": lines[-query["tail"] :]})
        page = lines[query["offset"] :][: query["limit"]]
        return reply(200, {"lines": page, "limit": query["limit"], "hasMore": False})

    def read(self, job: Job) -> list[str]:
        assert self.world.run(read_settled_log(self.world.conversation(), job)) == len(self.shown)
        return self.shown

    @property
    def shown(self) -> list[str]:
        return [line for item in self.world.emitted if isinstance(item, LogLines) for line in item.lines]

    @property
    def waited(self) -> float:
        return self.world.clock - NOW


def with_a_late_line(at: float) -> Log:
    return Log(lambda passed: [END, LATE] if passed >= at else [END])


def test_a_line_that_comes_after_the_line_that_says_exiting_is_read() -> None:
    log = with_a_late_line(3)
    assert log.read(ended(1)) == [END, LATE]


def test_lines_that_come_one_after_the_other_are_all_read_until_it_is_quiet() -> None:
    lines = [f"line {number}" for number in range(9)]
    log = Log(lambda passed: lines[: 2 + int(passed / 4)])
    assert log.read(ended(0)) == lines
    assert log.waited < 45


def test_the_log_of_a_job_that_ended_long_ago_is_not_waited_for() -> None:
    log = with_a_late_line(-1)
    assert log.read(ended(60)) == [END, LATE]
    log.world.run(settle_log(log.world.conversation(), ended(60)))
    assert (log.waited, len(log.world.sent)) == (0, 1)


def test_the_time_since_the_end_is_not_waited_again() -> None:
    log = with_a_late_line(99)
    log.read(ended(4))
    assert 0.5 < log.waited < 1.5


def test_clocks_that_disagree_and_an_end_that_is_not_shown_cost_no_more_than_the_settling_time() -> None:
    for job in (ended(-3600), ended(None)):
        log = with_a_late_line(99)
        assert log.read(job) == [END]
        assert log.waited <= 5


def test_the_log_of_a_job_that_runs_is_read_as_it_is() -> None:
    log = with_a_late_line(3)
    assert log.read(ended(None, "RUNNING")) == [END]
    assert log.waited == 0


def test_less_is_waited_where_all_assets_are_known_to_be_done() -> None:
    log = with_a_late_line(99)
    log.world.run(read_settled_log(log.world.conversation(), ended(1), assets_done=True))
    log.world.run(settle_log(log.world.conversation(), ended(-1), assets_done=True))
    assert 2.5 < log.waited <= 3.5


def test_a_line_on_its_way_when_all_assets_are_done_is_read() -> None:
    log = with_a_late_line(1)
    log.world.run(read_settled_log(log.world.conversation(), ended(0), assets_done=True))
    assert log.shown == [END, LATE]
    assert log.waited <= 4.5


def test_a_log_that_never_comes_to_rest_is_taken_as_it_is_in_the_end() -> None:
    log = Log(lambda passed: [f"line {number}" for number in range(int(passed) + 1)])
    log.read(ended(0))
    assert 100 < log.waited <= 120


def test_an_archive_is_fetched_once_the_log_is_quiet() -> None:
    log = with_a_late_line(3)
    log.world.run(settle_log(log.world.conversation(), ended(0)))
    assert 8 < log.waited <= 10.5


def test_an_instance_that_does_not_show_the_last_lines_is_given_the_time() -> None:
    world = World(lambda _request: reply(404))
    world.run(settle_log(world.conversation(), ended(1)))
    assert world.clock - NOW == 4
