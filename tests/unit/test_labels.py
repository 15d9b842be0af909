"""Labels of mapped tasks: not longer than Airflow's database accepts."""

from __future__ import annotations

import re
from pathlib import Path

import jinja2
import pytest

from aem_guides.runtime.labels import map_label

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("letters", [0, 1, 249, 250])
def test_a_label_that_fits_is_shown_whole(letters: int) -> None:
    assert jinja2.Template(map_label("path")).render(path="é" * letters) == "é" * letters


@pytest.mark.parametrize("letters", [251, 300, 2000])
def test_a_long_label_is_shortened_in_its_middle(letters: int) -> None:
    path = "/content/dam/" + "é" * (letters - 23) + "/topic.dita"
    shown = jinja2.Template(map_label("task['path']")).render(task={"path": path})
    assert len(shown) == 250
    assert shown.startswith("/content/dam/é")
    assert shown.endswith("é/topic.dita")
    assert "é…é" in shown


def test_a_missing_value_is_an_empty_label() -> None:
    assert jinja2.Template(map_label("nothing")).render() == ""


def test_every_mapped_task_has_such_a_label() -> None:
    sources = [file.read_text() for folder in ("plugins", "dags") for file in (ROOT / folder).rglob("*.py")]
    labels = [label for source in sources for label in re.findall(r"map_index_template=(\w+)", source)]
    mapped = sum(source.count("map_index_template") for source in sources)
    assert mapped == len(labels) >= 8
    assert set(labels) <= {"map_label", "PATH_LABEL"}
    assert "PATH_LABEL = map_label(\"task.request['path']\")" in "".join(sources)
