"""Files of paths: what is read, and what is said of those that cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

from aem_guides.batch_params import process_batch_params
from aem_guides.batch_paths import parse_paths, read_paths
from aem_guides.batch_pipeline import _requests
from aem_guides.protocol.errors import InvalidInputError


def test_a_text_file_has_a_path_a_line_and_may_have_comments() -> None:
    found = parse_paths("p.txt", "# nightly\n/content/dam/a\n\n  /content/dam/b b \r\n")
    assert found.paths == ("/content/dam/a", "/content/dam/b b")


def test_a_csv_file_has_a_column_path_and_exclusions_between_bars() -> None:
    found = parse_paths("p.csv", 'n,path,excluded_paths\n1,"/content/dam/a, b",\n2,/content/dam/c,c/x | /content/c/y\n')
    assert found.paths == ("/content/dam/a, b", "/content/dam/c")
    assert found.excluded_paths == ("c/x", "/content/c/y")


def test_a_json_file_is_a_list_of_paths_or_objects() -> None:
    found = parse_paths("p.json", '["/content/a", {"path": "/content/b", "excluded_paths": ["/content/b/x"]}]')
    assert found.paths == ("/content/a", "/content/b")
    assert found.excluded_paths == ("/content/b/x",)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("p.txt", "", "has no paths"),
        ("p.txt", "/content/a\ncontent/b\n", "line 2): 'content/b'"),
        ("p.txt", "/etc/passwd\n", "line 1): '/etc/passwd'"),
        ("p.csv", "folder\n/content/a\n", "no column `path`"),
        ("p.csv", "path\n/content/a\nb\n", "line 3): 'b'"),
        ("p.json", "{", "is not JSON"),
        ("p.json", '{"path": "/content/a"}', "is not a JSON list"),
        ("p.json", '["/content/a", 7]', "entry 2): 7"),
        ("p.json", '[{"path": "/content/a", "exclude": []}]', "entry 1)"),
        ("p.json", '[{"path": "/content/a", "excluded_paths": [1]}]', "entry 1)"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_place_and_a_remedy(name: str, content: str, said: str) -> None:
    with pytest.raises(InvalidInputError, match="paths_file") as caught:
        parse_paths(name, content)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("content", "field", "said"),
    [
        (
            "path\n/content/a\n/content/b\n/content/a/\n",
            "paths_file (p.csv, line 2) and paths_file (p.csv, line 4)",
            "twice",
        ),
        (
            "path\n/content/a/b\n/content/a\n",
            "paths_file (p.csv, line 2)",
            "That one is in paths_file (p.csv, line 3).",
        ),
        ("path,excluded_paths\n/content/a,a/x\n/content/b,/content/c|b/x\n", "paths_file (p.csv, line 2)", "'/a/x'"),
        (
            "path,excluded_paths\n/content/a,\n/content/b,content/b/x|/content/c\n",
            "paths_file (p.csv, line 3)",
            "'/content/c'",
        ),
        ("path\n/content/dam\n", "paths", "That one is in paths_file (p.csv, line 2)."),
    ],
)
def test_what_does_not_go_together_is_named_with_file_and_line(
    tmp_path: Path, content: str, field: str, said: str
) -> None:
    file = tmp_path / "p.csv"
    file.write_text(content)
    params = {name: param.value for name, param in process_batch_params().items()}
    with pytest.raises(InvalidInputError) as caught:
        _requests({**params, "paths": ["/content/dam/given"], "paths_file": f"file://{file}"})
    assert caught.value.field == field
    assert said in str(caught.value)


def test_a_file_is_read_from_object_storage(tmp_path: Path) -> None:
    file = tmp_path / "p.txt"
    file.write_bytes(b"\xef\xbb\xbf/content/dam/a\n")
    assert read_paths(f"file://{file}").paths == ("/content/dam/a",)


@pytest.mark.parametrize("uri", ["file:///nowhere/at/all.txt", "nothing-known://bucket/p.txt"])
def test_a_file_that_is_not_there_is_named(uri: str) -> None:
    with pytest.raises(InvalidInputError, match=uri):
        read_paths(uri)


def test_a_file_in_another_encoding_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "p.txt"
    file.write_bytes("/content/é".encode("latin-1"))
    with pytest.raises(InvalidInputError, match="UTF-8"):
        read_paths(f"file://{file}")
