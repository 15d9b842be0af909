"""A console over a ledger of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from aem_guides.ledger.store import Ledger
from tests.support.console import Host, console


@pytest.fixture
def shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Host, Ledger]]:
    with console(tmp_path, monkeypatch) as opened:
        yield opened


@pytest.fixture
def host(shown: tuple[Host, Ledger]) -> Host:
    return shown[0]


@pytest.fixture
def ledger(shown: tuple[Host, Ledger]) -> Ledger:
    return shown[1]
