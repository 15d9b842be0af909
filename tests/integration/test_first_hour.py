"""The first hour in `docs/getting-started.md`: its instance, messages and file of paths are as the page shows them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from aem_guides.hooks.hook import AemGuidesHook
from aem_guides.pipelines.batch_paths import read_paths
from aem_guides.protocol.errors import AemGuidesError
from aem_guides.protocol.procedures.start import StartPolicy, start_once
from aem_guides.protocol.requests import parse_requests
from local.demo import table
from tests.support.pages import DOCS, ROOT, blocks, page

PAGE = page("getting-started.md")
VARIABLE = "AIRFLOW_CONN_AEM_GUIDES_DEFAULT"
PORT = "4502"


def commands(sign: str) -> list[str]:
    """The blocks of the page for a shell that have this text."""
    return [block for block in blocks("", DOCS / "getting-started.md") if sign in block]


def flowing(text: str) -> str:
    return " ".join(text.split())


def quotes() -> list[str]:
    """The messages that the page quotes."""
    return [flowing(quote) for quote in re.findall(r"^> (.+)$", PAGE, re.MULTILINE)]


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The connection of the page, to the emulator of the page: only the port is a free one."""
    folder = tmp_path_factory.mktemp("first-hour")
    (folder / "include").symlink_to(ROOT / "include")
    (folder / ".venv" / "bin").mkdir(parents=True)
    (folder / ".venv" / "bin" / "python").symlink_to(sys.executable)
    (command,) = commands("-m emulator")
    assert f"--port {PORT} " in command
    script = command.replace(f"--port {PORT} ", "--port 0 --port-file port ").replace(
        ".venv/bin/python", f"exec {sys.executable}"
    )
    started = subprocess.Popen(["/bin/bash", "-euc", _exec_last(script)], cwd=folder)
    try:
        port = _port(folder / "port", started)
        (export,) = [block for block in commands(VARIABLE) if PORT in block]
        printed = f'{export}\nprintf %s "${VARIABLE}"'
        done = subprocess.run(["/bin/bash", "-euc", printed], capture_output=True, text=True, check=True)
        yield json.loads(done.stdout.replace(PORT, port))
    finally:
        started.terminate()
        started.wait()


def _exec_last(script: str) -> str:
    """Variables before a command become its environment, so that the command can replace the shell."""
    variables, _, command = script.partition("exec ")
    return f"exec env {variables}{command}"


def _port(file: Path, started: subprocess.Popen[bytes]) -> str:
    end = time.monotonic() + 30
    while not file.exists():
        assert started.poll() is None
        assert time.monotonic() < end
        time.sleep(0.02)
    return file.read_text()


@pytest.fixture
def hook(connection: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> AemGuidesHook:
    monkeypatch.setenv(VARIABLE, json.dumps(connection))
    return AemGuidesHook()


def test_the_test_button_answers_as_the_page_shows(hook: AemGuidesHook, connection: dict[str, str]) -> None:
    passed, answer = hook.test_connection()
    (shown,) = commands("Reached: ")
    assert passed
    seen = re.sub(r"\d+ jobs?, ", "1 job, ", answer.replace(connection["host"], f"http://127.0.0.1:{PORT}"))
    assert flowing(shown) == flowing(seen)


def test_a_folder_that_does_not_exist_is_refused_as_the_page_quotes(hook: AemGuidesHook) -> None:
    (quote,) = [quote for quote in quotes() if "does not accept" in quote]
    (path,) = re.findall(r"'(/content\S+)'", quote)
    (request,) = parse_requests([path])
    with hook, pytest.raises(AemGuidesError) as refused:
        hook.drive(start_once(hook.talk, request, policy=StartPolicy(), run="first hour"))
    assert quote in str(refused.value)


def test_a_wrong_password_is_refused_as_the_page_quotes(
    connection: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (quote,) = [quote for quote in quotes() if "credentials" in quote]
    monkeypatch.setenv(VARIABLE, json.dumps(connection | {"password": "wrong"}))
    passed, answer = AemGuidesHook().test_connection()
    assert not passed
    assert quote in answer


def test_the_paths_of_the_page_are_in_the_content_of_the_emulator() -> None:
    shown = set(re.findall(r"/content/dam/aurora/([\w/]+)", PAGE)) - {"guide"}
    assert len(shown) >= 5
    assert [path for path in shown if not (ROOT / "include" / "content" / path).is_dir()] == []


def test_the_file_of_paths_of_the_page_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (command,) = commands("cat > ")
    subprocess.run(["/bin/bash", "-euc", command], cwd=tmp_path, check=True)
    (file,) = (tmp_path / ".local/airflow/aem_guides/paths").iterdir()
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path / ".local/airflow"))
    monkeypatch.setenv("AIRFLOW__AEM_GUIDES__PATHS_FILES_FOLDER", str(file.parent))
    assert f"`{file.name}` under *File of paths*" in PAGE
    assert len(read_paths(file.name).paths) == 3


def test_the_outcome_that_the_page_shows_is_in_the_form_of_the_demo() -> None:
    (shown,) = commands("total_files")
    header, *lines = shown.splitlines()
    columns = header.split()
    rows: list[dict[str, object]] = [
        {name: int(cell) if cell.isdigit() else cell for name, cell in zip(columns, line.split(), strict=True)}
        for line in lines
    ]
    assert table(rows) == shown.rstrip("\n")


def test_what_the_page_reads_of_the_running_stack_is_what_it_lists() -> None:
    """`tests/unit/local/test_stack.py` holds the stack to the same four."""
    read = set(re.findall(r'up\.json"\)\)\["(\w+)"\]', PAGE))
    assert read == {"url", "password"}
    assert "holds `url`, `username`, `password` and `pid`" in PAGE
