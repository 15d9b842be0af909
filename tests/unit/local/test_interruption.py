"""A signal ends the launcher at once, but never between starting something and knowing that it runs."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from local.interruption import Interrupted, Interruption

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.fixture
def interruption() -> Iterator[Interruption]:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    made = Interruption()
    made.listen()
    yield made
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("interruption")
@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_interrupts_at_once(number: signal.Signals) -> None:
    with pytest.raises(Interrupted):
        os.kill(os.getpid(), number)


def test_a_signal_within_a_step_interrupts_after_it(interruption: Interruption) -> None:
    steps: list[str] = []

    def go() -> None:
        with interruption.held():
            with interruption.held():
                os.kill(os.getpid(), signal.SIGTERM)
                steps.append("inner")
            steps.append("outer")
        steps.append("after")

    with pytest.raises(Interrupted):
        go()
    assert steps == ["inner", "outer"]


def test_a_step_that_no_signal_met_ends_quietly(interruption: Interruption) -> None:
    with interruption.held():
        pass


def test_an_error_within_a_step_is_not_hidden_by_the_interruption(interruption: Interruption) -> None:
    def step() -> None:
        with interruption.held():
            os.kill(os.getpid(), signal.SIGTERM)
            raise OSError("no space")

    with pytest.raises(OSError, match="no space"):
        step()


def test_signals_are_ignored_while_the_stack_ends(interruption: Interruption) -> None:
    interruption.ignore()
    for number in SIGNALS:
        os.kill(os.getpid(), number)
