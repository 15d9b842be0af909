"""Which assets a selection leaves, and the sets that jobs work on."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.checks import BadInputError
from emulator.content import Repository, Selection, asset_id
from emulator.virtual import VirtualFolder
from emulator.working_set import WorkingSet

ROOT = "/content/dam"


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "b.md").write_text("# b")
    (tmp_path / "a.dita").write_text("<topic id='a'><title>a</title></topic>")
    (tmp_path / ".hidden").write_text("")
    folder = VirtualFolder(f"{ROOT}/v", 100, created_from=1000, created_to=2000, failed_assets=0.1)
    return Repository({f"{ROOT}/real": tmp_path}, {folder.path: folder})


def paths(repository: Repository, chosen: Selection) -> list[str]:
    work = WorkingSet.loads(WorkingSet.of(repository, chosen).dumps())
    return [asset.path.removeprefix(ROOT) for asset in work.take(repository, 0, len(work))]


def test_a_folder_holds_what_lies_below_it_and_nothing_hidden(repository: Repository) -> None:
    assert paths(repository, Selection(f"{ROOT}/real")) == ["/real/a.dita", "/real/deep/b.md"]
    assert len(paths(repository, Selection(ROOT))) == 102


def test_one_asset_may_be_selected(repository: Repository) -> None:
    assert paths(repository, Selection(f"{ROOT}/real/deep/b.md")) == ["/real/deep/b.md"]
    assert paths(repository, Selection(f"{ROOT}/v/topic_0000007.dita")) == ["/v/topic_0000007.dita"]


@pytest.mark.parametrize("slash", ["", "/"])
def test_exclusions_count_with_and_without_the_leading_slash(repository: Repository, slash: str) -> None:
    excluded = (f"{slash}content/dam/real/deep", f"{slash}content/dam/v/topic_0000003.dita")
    found = paths(repository, Selection(ROOT, excluded))
    assert "/real/deep/b.md" not in found
    assert "/v/topic_0000003.dita" not in found
    assert len(found) == 100


def test_an_exclusion_leaves_a_neighbour_with_the_same_beginning(repository: Repository) -> None:
    assert len(paths(repository, Selection(f"{ROOT}/real", (f"{ROOT}/real/de",)))) == 2


def test_file_types_and_creation_times_are_filters(repository: Repository) -> None:
    assert paths(repository, Selection(ROOT, file_types=("MARKDOWN",))) == ["/real/deep/b.md"]
    repository.set_created({f"{ROOT}/real/a.dita": 1500})
    found = paths(repository, Selection(ROOT, after=1490, before=1510))
    assert found == ["/real/a.dita", "/v/topic_0000049.dita", "/v/topic_0000050.dita"]


@given(st.lists(st.integers(900, 2100), min_size=2, max_size=6))
def test_adjoining_intervals_hold_each_asset_once(bounds: list[int]) -> None:
    folder = VirtualFolder(f"{ROOT}/v", 57, created_from=1000, created_to=2000)
    repository = Repository({}, {folder.path: folder})
    edges = [0, *sorted(bounds), 10_000]
    found: list[str] = []
    for after, before in itertools.pairwise(edges):
        found += paths(repository, Selection(ROOT, after=after, before=before))
    assert found == [folder.asset_path(number).removeprefix(ROOT) for number in range(57)]


@given(st.sets(st.integers(0, 99)), st.integers(0, 100), st.integers(1, 30))
def test_a_set_taken_in_pieces_is_the_whole_set(excluded: set[int], start: int, step: int) -> None:
    folders = [VirtualFolder(f"{ROOT}/{name}", 100) for name in "ab"]
    repository = Repository({}, {folder.path: folder for folder in folders})
    left_out = tuple(folder.asset_path(number) for folder in folders for number in excluded)
    work = WorkingSet.of(repository, Selection(ROOT, left_out))
    whole = [asset.path for asset in work.take(repository, 0, len(work))]
    pieces = [
        asset.path
        for position in range(start, len(work), step)
        for asset in work.take(repository, position, min(position + step, len(work)))
    ]
    assert len(whole) == 200 - len(left_out)
    assert pieces == whole[start:]


def test_what_exists_is_known(repository: Repository) -> None:
    for path in ("", "/real", "/real/deep", "/real/a.dita", "/v", "/v/topic_0000099.dita"):
        assert repository.exists(ROOT + path)
    for path in ("/none", "/real/none", "/real/../../..", "/v/topic_0000100.dita", "/v/topic_99.dita", "/real/\0"):
        assert not repository.exists(ROOT + path)


def test_a_link_out_of_the_mounted_folder_is_no_asset(repository: Repository, tmp_path: Path) -> None:
    os.symlink("/etc/hostname", tmp_path / "host.md")
    assert paths(repository, Selection(f"{ROOT}/real")) == ["/real/a.dita", "/real/deep/b.md"]


def test_a_share_of_failures_is_spread_and_a_list_names_them() -> None:
    spread = VirtualFolder(f"{ROOT}/v", 100, failed_assets=0.1)
    assert sum(spread.fails(number) for number in range(100)) == 10
    named = VirtualFolder(f"{ROOT}/v", 100, failed_assets=["topic_0000003.dita", f"{ROOT}/v/topic_0000004.dita"])
    assert [number for number in range(100) if named.fails(number)] == [3, 4]
    last = VirtualFolder(f"{ROOT}/v", 100, failed_assets=2)
    assert [number for number in range(100) if last.fails(number)] == [98, 99]


def test_an_asset_keeps_its_id() -> None:
    assert asset_id("/content/dam/a") == asset_id("/content/dam/a") != asset_id("/content/dam/b")


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"path": "/content/dam/v"}, "files"),
        ({"path": "/etc", "files": 1}, "path"),
        ({"path": "/content/dam/v", "files": -1}, "files"),
        ({"path": "/content/dam/v", "files": "many"}, "files"),
        ({"path": "/content/dam/v", "files": 1, "fail_at": 2}, "fail_at"),
        ({"path": "/content/dam/v", "files": 1, "failed_assets": -1}, "failed_assets"),
        ({"path": "/content/dam/v", "files": 1, "speed": 1}, "speed"),
        ({"path": "/content/dam/v", "files": 1, "created_from": 2, "created_to": 1}, "created_to"),
    ],
)
def test_a_wrong_virtual_folder_is_refused_by_field(wrong: dict[str, object], field: str) -> None:
    with pytest.raises(BadInputError, match=f"^{field}: "):
        VirtualFolder.from_json(wrong)
