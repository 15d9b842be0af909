"""The demo's content is what the demo needs: many kinds, two broken files, three broken links."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from emulator.content import Repository

CONTENT = Path(__file__).resolve().parents[2] / "include" / "content"
FORBIDDEN = set('*/:[\\]|#%{}?"^;+&\t')


def test_the_inventory_is_rich_and_its_faults_are_exactly_those_wanted() -> None:
    repository = Repository({"/content/dam/aurora": CONTENT})
    outcomes = {asset.path: repository.process(asset) for asset in repository.assets("/content/dam/aurora")}
    kinds = Counter(outcome.file_type for outcome in outcomes.values())
    assert sum(kinds.values()) >= 60
    assert set(kinds) == {"DITATOPIC", "DITAMAP", "MARKDOWN", "DITAVAL", "HTML/CSS", "OTHERS"}
    broken = sorted(path.rpartition("/")[2] for path, outcome in outcomes.items() if outcome.failure)
    assert broken == ["frozen gauge.dita", "spare parts.dita"]
    dangling = sorted(link for outcome in outcomes.values() for link in outcome.dangling)
    assert dangling == ["../resources/images/seal of approval.svg", "conversion des unités.dita", "soil survey.dita"]


def test_names_are_legal_in_the_dam_and_some_are_not_plain() -> None:
    names = [path.name for path in CONTENT.rglob("*")]
    assert not any(set(name) & FORBIDDEN for name in names)
    assert any(" " in name for name in names)
    assert any(not name.isascii() for name in names)
