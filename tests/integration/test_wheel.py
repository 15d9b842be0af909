"""The wheel, installed alone: everything that Airflow shows of it, and a DAG with its operators."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.emulator import EmulatorProcess

ROOT = Path(__file__).resolve().parents[2]
PROBES = Path(__file__).resolve().parent / "installed"
GUIDES = "/content/dam/aurora/guides"


@dataclass(frozen=True)
class Installed:
    """An environment with the wheel and its dependencies, and nothing of the checkout."""

    python: Path
    folder: Path
    environment: dict[str, str]

    def run(self, *arguments: str) -> str:
        """Run its Python outside the checkout, and return what it printed."""
        done = subprocess.run(
            [str(self.python), *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def airflow(self, *arguments: str) -> str:
        return self.run("-m", "airflow", *arguments)

    def reported(self, *arguments: str) -> Any:
        """The JSON in the last line that a program printed."""
        return json.loads(self.run(*arguments).splitlines()[-1])


def build(folder: Path) -> Path:
    """Build the wheel from a copy, so that the checkout stays as it is."""
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(
        ROOT / "plugins", source / "plugins", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info", "build")
    )
    pip(sys.executable, "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", str(folder), str(source))
    (wheel,) = folder.glob("*.whl")
    return wheel


def pip(python: str, *arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check", "--python", python, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory, emulator: EmulatorProcess) -> Installed:
    """A fresh environment. The packages that the wheel depends on are those of the environment that runs the tests."""
    folder = tmp_path_factory.mktemp("installed")
    wheel = build(folder)
    fresh = folder / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(fresh)], check=True, timeout=300)
    python = fresh / "bin" / "python"
    pip(str(python), "install", "--no-deps", "--no-index", str(wheel))
    (packages,) = fresh.glob("lib/python*/site-packages")
    (packages / "lent.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    (folder / "plugins").mkdir()
    shutil.copytree(PROBES, folder / "dags", ignore=shutil.ignore_patterns("__pycache__"))
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    return Installed(
        python,
        folder,
        kept
        | {
            "AIRFLOW_HOME": str(folder / "home"),
            "AIRFLOW__CORE__DAGS_FOLDER": str(folder / "dags"),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(folder / "plugins"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
            "AIRFLOW_CONN_AEM_GUIDES_DEFAULT": emulator.connection(),
            "NO_PROXY": "127.0.0.1",
        },
    )


def test_airflow_lists_the_provider_and_its_options(installed: Installed) -> None:
    listed = json.loads(installed.airflow("providers", "list", "-o", "json"))
    assert "airflow-provider-aem-guides" in {provider["package_name"] for provider in listed}
    options = installed.airflow("config", "list", "--section", "aem_guides", "--include-descriptions")
    for said in ("Where log archives are stored", "archive_uri", "archive_url", "first_retry_seconds"):
        assert said in options


def test_nothing_comes_from_the_checkout_and_form_and_test_button_are_there(
    installed: Installed, emulator: EmulatorProcess
) -> None:
    seen = installed.reported(str(installed.folder / "dags" / "look.py"))
    assert Path(seen["package"]).is_relative_to(installed.folder)
    assert not [place for place in seen["path"] if Path(place).is_relative_to(ROOT / "plugins")]
    assert seen["title"] == "AEM Guides"
    assert {"auth", "token", "client_id", "client_secret", "scopes", "service_token", "verify", "ca_file"} <= set(
        seen["fields"]
    )
    assert seen["links"] == 3
    passed, said = seen["tested"]
    assert passed
    assert said.startswith(f"Reached: {emulator.url}. Accepted: ")


def test_a_dag_with_the_operators_runs(installed: Installed, emulator: EmulatorProcess) -> None:
    installed.airflow("db", "migrate")
    seen = installed.reported(str(installed.folder / "dags" / "installed_dag.py"))
    (job,) = emulator.jobs(GUIDES)
    assert job["state"] == "SUCCESS"
    assert seen["state"] == "success"
    assert seen["lines"] == job["lines"]
    assert Path(seen["archive"].removeprefix("file://")).is_relative_to(installed.folder / "home")
    assert seen["folder"] == f"{emulator.url}/assets.html{GUIDES}"
