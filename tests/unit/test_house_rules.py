"""Rules that a reader relies on, read from the files themselves."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LONGEST_MODULE = 400
SEALED = {"airflow", "requests", "aiohttp", "sqlalchemy", "asyncio", "socket", "threading", "time", "random", "os"}


def modules(*folders: str) -> list[Path]:
    return sorted(file for folder in folders for file in (ROOT / folder).rglob("*.py"))


def imports(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


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


@pytest.mark.parametrize("file", modules("plugins/aem_guides"), ids=name)
def test_time_passes_by_the_surroundings_alone(file: Path) -> None:
    """A clock that a test puts in their place must be the only one."""
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


def test_constraints_name_versions_and_no_address() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert all("==" in line and "/" not in line and "@" not in line for line in lines)
    assert "apache-airflow==3.3.2" in lines


def test_importing_the_protocol_does_not_import_airflow() -> None:
    code = "import sys, aem_guides.protocol.procedures.start; sys.exit('airflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=False, env={"PYTHONPATH": str(ROOT / "plugins")})
    assert done.returncode == 0
