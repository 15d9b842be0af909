"""Files of paths: what is read, and the messages about invalid ones."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from airflow.sdk.io import attach
from fsspec.implementations.memory import MemoryFileSystem  # type: ignore[import-untyped]  # fsspec has no types

from aem_guides.pipelines.batch import _requests
from aem_guides.pipelines.batch_params import process_batch_params
from aem_guides.pipelines.batch_paths import parse_paths, read_paths
from aem_guides.protocol.errors import AemGuidesError, InvalidInputError


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
        (
            "p.txt",
            "/content/a\ncontent/secret\n",
            "line 2): this entry is not valid. A repository path is absolute",
        ),
        ("p.txt", "/etc/secret\n", "line 1): this entry is not valid. Give a path below /content"),
        ("p.txt", "root:secret:0\n", "line 1)"),
        ("p.txt", "secret\x00\x01\n", "line 1)"),
        ("p.csv", "folder\n/content/a\n", "no column `path`"),
        ("p.csv", "path\n/content/a\nsecret\n", "line 3)"),
        ("p.csv", "secret,secret\n1,2\n", "no column `path`"),
        (
            "p.csv",
            "path\n/content/a\n" + "secret" * 30_000 + "\n",
            "line 3): this entry is not valid. It cannot be",
        ),
        ("p.json", "{", "is not valid JSON"),
        ("p.json", '{"secret": secret', "is not valid JSON from line 1 on"),
        ("p.json", "[" * 100_000, "is not valid JSON"),
        ("p.json", '{"path": "/content/a"}', "is not a JSON list"),
        ("p.json", '["/content/a", 7]', "entry 2): this entry"),
        ("p.json", '["secret"]', "entry 1)"),
        ("p.json", '[{"path": "/content/a", "secret": []}]', "entry 1)"),
        ("p.json", '[{"path": "/content/a", "excluded_paths": [1]}]', "entry 1)"),
    ],
)
def test_an_unreadable_value_is_named_with_its_place_and_a_remedy(name: str, content: str, said: str) -> None:
    with pytest.raises(InvalidInputError, match="paths_file") as caught:
        parse_paths(name, content)
    assert said in str(caught.value)
    assert "secret" not in str(caught.value)


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
            "It lies below the path in paths_file (p.csv, line 3)",
        ),
        (
            "path,excluded_paths\n/content/a,a/x\n/content/b,/content/c|b/x\n",
            "paths_file (p.csv, line 2)",
            "An excluded path",
        ),
        (
            "path,excluded_paths\n/content/a,\n/content/b,content/b/x|/content/c\n",
            "paths_file (p.csv, line 3)",
            "An excluded path must be an absolute path below a processed path.",
        ),
        ("path\n/content/dam\n", "paths", "It lies below the path in paths_file (p.csv, line 2)"),
    ],
)
def test_what_does_not_go_together_is_named_with_file_and_line(
    folder: Path, content: str, field: str, said: str
) -> None:
    file = folder / "p.csv"
    file.write_text(content)
    params = {name: param.value for name, param in process_batch_params().items()}
    with pytest.raises(InvalidInputError) as caught:
        _requests({**params, "paths": ["/content/dam/given"], "paths_file": f"file://{file}"})
    assert caught.value.field == field
    assert said in str(caught.value)
    in_file = [cell for line in content.splitlines()[1:] for cell in line.replace("|", ",").split(",") if cell]
    assert not any(cell in str(caught.value).replace("/content/dam/given", "") for cell in in_file)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder below which local files may be. Files beside it are not for every user."""
    path = tmp_path / "paths"
    path.mkdir()
    (tmp_path / "secret.txt").write_text("/content/dam/secret\n")
    monkeypatch.setenv("AIRFLOW__AEM_GUIDES__PATHS_FILES_FOLDER", str(path))
    return path


@pytest.mark.parametrize(
    "uri", ["file://{folder}/p.txt", "local://{folder}/p.txt", "{folder}/p.txt", "p.txt", "a/../p.txt"]
)
def test_a_local_file_is_read_below_the_folder_for_them(folder: Path, uri: str) -> None:
    (folder / "p.txt").write_bytes(b"\xef\xbb\xbf/content/dam/a\n")
    assert read_paths(uri.format(folder=folder)).paths == ("/content/dam/a",)


def test_without_a_setting_the_folder_lies_below_the_home_of_airflow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))
    file = tmp_path / "aem_guides" / "paths" / "more" / "p.txt"
    file.parent.mkdir(parents=True)
    file.write_text("/content/dam/a\n")
    assert read_paths("more/p.txt").paths == ("/content/dam/a",)
    with pytest.raises(InvalidInputError, match="must lie below"):
        read_paths(f"file://{tmp_path}/airflow.cfg")


@pytest.mark.parametrize(
    "uri",
    [
        "file://{outside}/secret.txt",
        "FILE://{outside}/secret.txt",
        "local://{outside}/secret.txt",
        "{outside}/secret.txt",
        "file://{folder}/../secret.txt",
        "../secret.txt",
        "file://{folder}/link.txt",
        "file://{folder}/linked/secret.txt",
        "file://{folder}",
        "file://{outside}/absent.txt",
        "file:///etc/passwd",
        "link.txt",
    ],
)
def test_a_local_file_elsewhere_is_refused_whether_it_is_there_or_not(folder: Path, uri: str) -> None:
    (folder / "link.txt").symlink_to(folder.parent / "secret.txt")
    (folder / "linked").symlink_to(folder.parent)
    with pytest.raises(InvalidInputError, match="must lie below") as caught:
        read_paths(uri.format(folder=folder, outside=folder.parent))
    assert "paths_files_folder" in caught.value.remedy
    assert "content" not in str(caught.value)


@pytest.mark.parametrize("uri", ["simplecache::file:///etc/passwd", "zip:///etc/x.zip", "http://127.0.0.1/x"])
def test_no_other_way_leads_to_local_files(folder: Path, uri: str) -> None:
    with pytest.raises(AemGuidesError, match="No filesystem registered"):
        read_paths(uri)


def test_links_in_a_circle_and_folders_and_pipes_are_no_files(folder: Path) -> None:
    (folder / "a").symlink_to(folder / "b")
    (folder / "b").symlink_to(folder / "a")
    (folder / "more").mkdir()
    os.mkfifo(folder / "pipe")
    for name in ("a", "more", "pipe", "none.txt", "nul\x00"):
        with pytest.raises(InvalidInputError, match="paths_file"):
            read_paths(name)


def test_a_file_in_object_storage_is_read_from_there() -> None:
    bucket = MemoryFileSystem()
    bucket.pipe("/bucket/p.txt", b"/content/dam/a\n")
    attach(protocol="memory", fs=bucket)
    assert read_paths("memory://bucket/p.txt").paths == ("/content/dam/a",)


def test_a_scheme_that_is_not_known_is_named() -> None:
    with pytest.raises(InvalidInputError, match=r"nothing-known://bucket/p\.txt"):
        read_paths("nothing-known://bucket/p.txt")


def test_a_file_in_another_encoding_is_refused(folder: Path) -> None:
    (folder / "p.txt").write_bytes("/content/é".encode("latin-1"))
    with pytest.raises(InvalidInputError, match="UTF-8"):
        read_paths("p.txt")
