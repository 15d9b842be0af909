"""The examples of the README are DAGs that parse, and name what exists."""

from __future__ import annotations

import re
from pathlib import Path

from airflow.dag_processing.dagbag import DagBag

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_daily_example_is_a_dag_with_all_tasks(tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    (tmp_path / "example.py").write_text(example, encoding="utf-8")
    bag = DagBag(str(tmp_path))
    assert bag.import_errors == {}
    assert len(bag.dags["nightly_manuals"].tasks) == 9


def test_every_parameter_is_explained() -> None:
    bag = DagBag(str(ROOT / "dags"))
    for name in bag.dags["aem_guides_process_assets"].params:
        assert f"`{name}`" in README, name


def test_every_message_that_tells_what_is_wrong_is_looked_for_on_the_real_airflow() -> None:
    chapter = README.partition("## When something is wrong\n")[2].partition("\n## ")[0]
    seen = [row.split("|")[1] for row in chapter.splitlines() if row.startswith("| ")]
    quoted = {message for cell in seen for message in re.findall(r'"([^"]+)"', cell)}
    tests = "\n".join(file.read_text(encoding="utf-8") for file in (ROOT / "tests" / "e2e").glob("*.py"))
    assert len(quoted) >= 13
    assert [message for message in sorted(quoted) if message not in tests] == []
