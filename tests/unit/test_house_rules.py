"""Rules that a reader relies on, checked in the files themselves."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from airflow.sdk._shared.module_loading.file_discovery import find_path_from_directory

from tests.support.floors import FLOORS, OUTSIDE

ROOT = Path(__file__).resolve().parents[2]
LONGEST_MODULE = 400
FEWEST_WORDS = 3  # subject, verb and what else makes it a sentence; "test" comes on top
STARTERS = {
    "subprocess",
    "multiprocessing",
    "socketserver",
    "http.server",
    "uvicorn",
    "psycopg2",
    "concurrent.futures.ProcessPoolExecutor",
    "socket.create_server",
    "asyncio.start_server",
    "asyncio.create_subprocess_exec",
    "asyncio.create_subprocess_shell",
    "os.fork",
    "os.system",
    "os.popen",
    "os.posix_spawn",
    "local.database.start_database",
}
FIXTURES_THAT_START = {"emulator", "live_emulator", "airflow"}
SEALED = {"airflow", "requests", "aiohttp", "sqlalchemy", "asyncio", "socket", "threading", "time", "random", "os"}


def modules(*folders: str) -> list[Path]:
    return sorted(file for folder in folders for file in (ROOT / folder).rglob("*.py"))


@cache
def imports(file: Path) -> frozenset[str]:
    found = set[str]()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return frozenset(found)


@cache
def reached(file: Path) -> frozenset[str]:
    """The dotted names of all imports of a module, and of all names that it imports from modules."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    found, called = set[str](), dict[str, str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
            called |= {alias.asname or alias.name: alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in called:
            found.add(f"{called[node.value.id]}.{node.attr}")
    return frozenset(found)


def module_file(dotted: str) -> Path:
    return ROOT.joinpath(*dotted.split(".")).with_suffix(".py")


def closure(file: Path) -> set[Path]:
    """The modules below tests/ that a module imports, directly or indirectly."""
    found: set[Path] = set()
    waiting = [file]
    while waiting:
        named = {module_file(dotted) for dotted in reached(waiting.pop()) if dotted.startswith("tests.")}
        new = {module for module in named if module.is_file()} - found
        found |= new
        waiting.extend(new)
    return found


def functions(file: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    nodes = ast.walk(ast.parse(file.read_text(encoding="utf-8")))
    return [node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def fixtures_asked_for(file: Path) -> set[str]:
    """The names of all parameters, and all names in `usefixtures` and `getfixturevalue`."""
    asked = {argument.arg for function in functions(file) for argument in function.args.args}
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in ("usefixtures", "getfixturevalue"):
            asked |= {str(ast.literal_eval(argument)) for argument in node.args if isinstance(argument, ast.Constant)}
    return asked


def files_of_tests() -> list[Path]:
    return [file for file in modules("tests") if file.name.startswith("test_")]


def calls(file: Path) -> Iterator[str]:
    yield from (ast.unparse(node.func) for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call))


def roots(file: Path) -> set[str]:
    return {name.partition(".")[0] for name in imports(file)}


def name(file: Path) -> str:
    return str(file.relative_to(ROOT))


@pytest.mark.parametrize("file", modules("plugins/aem_guides/protocol"), ids=name)
def test_the_protocol_does_no_io(file: Path) -> None:
    allowed = set(sys.stdlib_module_names) - SEALED | {"aem_guides"}
    if file.name.startswith(("credentials", "token")):
        allowed |= {"jwt", "cryptography"}
    assert roots(file) <= allowed
    assert all(i.startswith("aem_guides.protocol") for i in imports(file) if i.startswith("aem_guides"))


def part_of(dotted: str) -> str:
    """The package or module of the house that a dotted name is in."""
    return [*dotted.split("."), "__init__"][1]


FLOOR = {part: number for number, parts in enumerate(FLOORS) for part in parts}


@pytest.mark.parametrize("file", modules("plugins/aem_guides"), ids=name)
def test_a_package_imports_from_lower_floors_only(file: Path) -> None:
    own = part_of(".".join(file.relative_to(ROOT / "plugins").with_suffix("").parts))
    if own not in OUTSIDE:
        parts = {part_of(dotted) for dotted in imports(file) if dotted.startswith("aem_guides.")}
        assert {part for part in parts - {own} if FLOOR[part] >= FLOOR[own]} == set()


def test_the_house_has_no_other_parts_than_the_floors_name() -> None:
    found = {file.stem for file in (ROOT / "plugins" / "aem_guides").iterdir() if file.suffix == ".py"}
    found |= {file.parent.name for file in (ROOT / "plugins" / "aem_guides").glob("*/__init__.py")}
    assert found == {*FLOOR, *OUTSIDE}


def imported_when_run(file: Path) -> set[str]:
    """The modules of ours that a module imports, without those that only its annotations need."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    found = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]
    named = {f"{node.module}.{alias.name}" for node in found for alias in node.names}
    return named | {str(node.module) for node in found}


def test_no_modules_import_each_other_in_a_circle() -> None:
    files = {".".join(f.relative_to(ROOT / "plugins").with_suffix("").parts): f for f in modules("plugins/aem_guides")}
    order = TopologicalSorter({dotted: imported_when_run(file) & set(files) for dotted, file in files.items()})
    assert set(order.static_order()) == set(files), "a circle raises CycleError, which names it"


@pytest.mark.parametrize("file", modules("plugins/aem_guides"), ids=name)
def test_time_passes_by_the_surroundings_alone(file: Path) -> None:
    """A clock that a test sets must be the only one."""
    if file.name != "bodies.py":
        assert not roots(file) & {"time", "random"}
        assert not set(calls(file)) & {"asyncio.sleep", "asyncio.wait_for", "asyncio.timeout"}


@pytest.mark.parametrize("file", modules("dags"), ids=name)
def test_dag_files_import_the_sdk_and_our_package_only(file: Path) -> None:
    allowed = {"__future__", "aem_guides", "airflow", "datetime", "pathlib", "pendulum"}
    assert roots(file) <= allowed
    assert all(i.startswith("airflow.sdk") for i in imports(file) if i.startswith("airflow"))


@pytest.mark.parametrize("file", modules("plugins/aem_guides"), ids=name)
def test_nothing_imports_include(file: Path) -> None:
    assert not roots(file) & {"include", "emulator", "local", "tests", "dags"}


@pytest.mark.parametrize("file", modules("include/emulator", "include/local"), ids=name)
def test_the_stand_ins_import_nothing_of_ours(file: Path) -> None:
    assert "aem_guides" not in roots(file)


@pytest.mark.parametrize("file", modules("plugins", "include", "dags"), ids=name)
def test_no_module_is_longer_than_the_house_allows(file: Path) -> None:
    assert len(file.read_text(encoding="utf-8").splitlines()) <= LONGEST_MODULE


def test_the_plugin_folder_shows_the_loader_one_file() -> None:
    ignored = (ROOT / "plugins" / ".airflowignore").read_text().split()
    assert "aem_guides/" in ignored
    assert [file.name for file in (ROOT / "plugins").glob("*.py")] == ["aem_guides_plugin.py"]


def test_the_constraints_pin_the_airflow_that_all_was_tried_on() -> None:
    assert "apache-airflow==3.3.2" in (ROOT / "constraints.txt").read_text().splitlines()


def test_airflow_reads_its_ignore_files_without_a_warning() -> None:
    """The warning would begin the log of each task; here it would be an error."""
    assert list(find_path_from_directory(ROOT / "plugins", ".airflowignore"))


def test_every_pinned_version_is_a_plain_one_without_address_or_local_path() -> None:
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9.+!]+", line), line


@pytest.mark.parametrize("file", modules("tests"), ids=name)
def test_no_module_imports_a_test_module(file: Path) -> None:
    parts = {dotted: dotted.split(".") for dotted in reached(file) if dotted.startswith("tests.")}
    assert sorted(dotted for dotted, names in parts.items() if any(part.startswith("test_") for part in names)) == []


@pytest.mark.parametrize("file", modules("tests/unit"), ids=name)
def test_no_unit_test_starts_a_process_a_server_or_a_database(file: Path) -> None:
    ours = {file} | {module for module in closure(file) if module.is_relative_to(ROOT / "tests")}
    assert {name(module): found for module in ours if (found := reached(module) & STARTERS)} == {}
    assert fixtures_asked_for(file) & FIXTURES_THAT_START == set()


@pytest.mark.parametrize("file", files_of_tests(), ids=name)
def test_the_name_of_a_test_is_a_sentence(file: Path) -> None:
    tests = [function.name for function in functions(file) if function.name.startswith("test_")]
    assert [test for test in tests if len(test.split("_")) <= FEWEST_WORDS] == []


@pytest.mark.parametrize(
    ("source", "reaches"),
    [
        ("import tests.e2e.test_batch", "tests.e2e.test_batch"),
        ("from tests.e2e import test_batch", "tests.e2e.test_batch"),
        ("from tests.e2e.test_batch import outcome", "tests.e2e.test_batch"),
        ("import subprocess as s", "subprocess"),
        ("def late():\n    from subprocess import run", "subprocess"),
        ("from local.database import start_database", "local.database.start_database"),
        ("import os\nos.fork()", "os.fork"),
        ("import asyncio as a\na.start_server", "asyncio.start_server"),
    ],
)
def test_what_a_module_reaches_is_seen_however_it_is_written(source: str, reaches: str, tmp_path: Path) -> None:
    file = tmp_path / "module.py"
    file.write_text(source)
    assert reaches in reached(file)
