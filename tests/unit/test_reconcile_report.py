"""What a reconciliation says of itself in a sentence."""

from __future__ import annotations

import pytest

from aem_guides.protocol.models import JsonObject
from aem_guides.reconciliation.report import InstanceReport

DONE: JsonObject = {"remedy": "archive", "succeeded": True}


@pytest.mark.parametrize(
    ("window", "lasting", "remedies", "said"),
    [
        (5, 0, [], "5 jobs in the window, 0 of them new; 0 findings opened, 0 closed, 0 still open."),
        (1, 2, [DONE], "1 job in the window, 0 of them new; 0 findings opened, 0 closed, 2 still open; 1 of 1 remedy"),
        (0, 0, [DONE, {"remedy": "resume"}], "0 still open; 1 of 2 remedies worked."),
    ],
)
def test_the_headline_counts_what_there_was(window: int, lasting: int, remedies: list[JsonObject], said: str) -> None:
    result: JsonObject = {"instance": "x", "window": window, "lasting": [{"kind": "lost"}] * lasting}
    assert said in InstanceReport("aem_guides_default", result, remedies).headline()
