"""The examples of the README are DAGs that parse, and name what exists."""

from __future__ import annotations

import re
from pathlib import Path

from airflow.dag_processing.dagbag import DagBag

README = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")


def test_the_daily_example_is_a_dag_with_all_tasks(tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    (tmp_path / "example.py").write_text(example, encoding="utf-8")
    bag = DagBag(str(tmp_path))
    assert bag.import_errors == {}
    assert len(bag.dags["nightly_manuals"].tasks) == 9


def test_every_parameter_is_explained() -> None:
    bag = DagBag(str(Path(__file__).resolve().parents[2] / "dags"))
    for name in bag.dags["aem_guides_process_assets"].params:
        assert f"`{name}`" in README, name
