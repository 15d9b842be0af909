"""The label of a mapped task in Airflow's grid."""

from __future__ import annotations

LONGEST_LABEL = 250
"""The longest label in Airflow's database. With a longer one Airflow could not store the state of the task."""

_HEAD = LONGEST_LABEL // 2 - 1
_TAIL = LONGEST_LABEL - _HEAD - 1


def map_label(expression: str) -> str:
    """The template of a mapped task's label: the value of a Jinja expression, shortened in the middle."""
    return (
        f"{{% set label = ({expression}) | string %}}"
        f"{{{{ label if label | length <= {LONGEST_LABEL} else label[:{_HEAD}] ~ '…' ~ label[-{_TAIL}:] }}}}"
    )
