"""An emulator whose clock runs twenty times as fast: everything of the instance follows it, also after restarts."""

from __future__ import annotations

from email.utils import parsedate_to_datetime

import pytest

from tests.contract.conftest import Instance
from tests.support.clocks import FAST, Clock
from tests.support.emulator import EmulatorProcess

LEAD_SECONDS = 5.0


@pytest.fixture(scope="module")
def clock() -> Clock:
    """A fast clock, far enough ahead of the machine's that the two cannot be confused."""
    ahead = Clock(FAST)
    ahead.sleep(LEAD_SECONDS)
    return ahead


def test_a_job_takes_the_seconds_of_the_clock_and_is_dated_by_it(instance: Instance, clock: Clock) -> None:
    before = clock.now()
    processing_id = instance.start(instance.folder(20, rate=2))
    ended = instance.end(processing_id)
    assert before * 1000 - 1 <= ended["startedAt"] <= ended["completedAt"] <= clock.now() * 1000
    assert ended["completedAt"] - ended["startedAt"] >= 9_000
    assert instance.emulator.requests()[0]["at"] >= before


def test_a_restart_does_not_set_the_clock_back(instance: Instance, clock: Clock) -> None:
    before = clock.now()
    instance.emulator.restart()
    date = instance.client.get(instance.emulator.url).headers["date"]
    assert int(before) <= parsedate_to_datetime(date).timestamp() <= clock.now()


def test_an_answer_is_delayed_by_the_seconds_of_the_clock(instance: Instance, clock: Clock) -> None:
    instance.emulator.fault("history", "delay", seconds=10)
    before = clock.elapsed()
    instance.history()
    assert clock.elapsed() - before >= 10


def test_a_token_runs_out_by_the_clock(instance: Instance, clock: Clock) -> None:
    instance.emulator.settings(csrf=True, csrf_life_seconds=1.0)
    token = str(instance.client.get(f"{instance.emulator.url}/libs/granite/csrf/token.json").json()["token"])
    clock.sleep(1.1)
    path = instance.folder(1)
    instance.client.headers["CSRF-Token"] = token
    assert instance.begin(path).status_code == 403


def test_a_clock_that_stands_still_is_refused(emulator: EmulatorProcess) -> None:
    wrong = EmulatorProcess(emulator.folder / "standing", arguments=("--speed", "0"))
    with pytest.raises(AssertionError, match=r"--speed: 0\.0 cannot be taken"):
        wrong.start()
    wrong.stop()
