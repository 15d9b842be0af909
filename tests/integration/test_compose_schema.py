"""docker-compose.yaml against the schema of the Compose specification."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import yaml

from tests.support.compose import COMPOSE_FILE, interpolate, read_text


def check(file: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(file)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_file_is_valid_by_the_schema_of_the_compose_specification() -> None:
    done = check(COMPOSE_FILE)
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_is_valid_with_its_variables_and_anchors_put_in(tmp_path: Path) -> None:
    secrets = {name: "x" * 64 for name in re.findall(r"\$\{(\w+):\?\}", read_text())}
    resolved = tmp_path / "docker-compose.yaml"
    resolved.write_text(yaml.safe_dump(yaml.safe_load(interpolate(read_text(), secrets))))
    assert "${" not in resolved.read_text()
    done = check(resolved)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_schema_check_notices_what_is_wrong(tmp_path: Path) -> None:
    wrong = tmp_path / "docker-compose.yaml"
    wrong.write_text(read_text().replace("stop_grace_period:", "stop_grace:"))
    done = check(wrong)
    assert done.returncode == 1
    assert "stop_grace" in done.stdout
