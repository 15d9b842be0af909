"""The values that the tasks of the reconciliation pass to each other."""

from __future__ import annotations

import pytest

from aem_guides.pipelines.reconcile import carried_out

ONE, OTHER = {"remedy": "archive"}, {"remedy": "alert"}


@pytest.mark.parametrize(
    ("pulled", "results"),
    [(None, []), ([], []), (ONE, [ONE]), ([ONE], [ONE]), ([ONE, None, OTHER], [ONE, OTHER]), (iter([ONE]), [ONE])],
)
def test_a_lone_remedy_counts_as_much_as_many(pulled: object, results: list[dict[str, str]]) -> None:
    assert carried_out(pulled) == results
