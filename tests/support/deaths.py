"""Tries whose process dies in the middle of a step."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from aem_guides.protocol.steps import Answer, Send, Steps

Arguments = ParamSpec("Arguments")
Outcome = TypeVar("Outcome")


class WorkerKilledError(BaseException):
    """The process of the try dies."""


def dies_after_its_post(procedure: Callable[Arguments, Steps[Outcome]]) -> Callable[Arguments, Steps[Outcome]]:
    """The same procedure in a process that dies before it gets the answer to its POST."""

    def cut_short(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Steps[Outcome]:
        steps = procedure(*args, **kwargs)
        answer: Answer = None
        while True:
            step = steps.send(answer)
            answer = yield step
            if isinstance(step, Send) and step.request.method == "POST":
                raise WorkerKilledError

    return cut_short
