"""Module names of earlier versions, so that stored triggers and your own DAGs that use them still load.

Airflow stores a waiting trigger by the path of its class, and after an upgrade loads it by that path.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

EARLIER = {
    "batch_params": "pipelines.batch_params",
    "batch_pipeline": "pipelines.batch",
    "batch_progress": "pipelines.batch_progress",
    "batch_trigger": "triggers.earlier",
    "control": "pipelines.control",
    "hook": "hooks.hook",
    "params": "pipelines.params",
    "pipeline": "pipelines.process",
    "plan_dags": "plans.dags",
    "reconcile_pipeline": "pipelines.reconcile",
    "retrying": "runtime.retry_policy",
    "triggers.job": "triggers.earlier",
    "triggers.path": "triggers.earlier",
    "verify_operator": "operators.verify",
    "watcher": "triggers.history",
}
"""The earlier names of modules, and their present names."""

_PACKAGE = "aem_guides."


class EarlierNames(MetaPathFinder, Loader):
    """Finds a module by its earlier name: an empty module that takes its contents from the present one."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Called if no other finder found the module."""
        is_ours = fullname.startswith(_PACKAGE) and fullname.removeprefix(_PACKAGE) in EARLIER
        return ModuleSpec(fullname, self) if is_ours else None

    def exec_module(self, module: ModuleType) -> None:
        """Fill the module: names are looked up in the present one."""
        today = importlib.import_module(_PACKAGE + EARLIER[module.__name__.removeprefix(_PACKAGE)])
        vars(module)["__getattr__"] = lambda name: getattr(today, name)


def keep_earlier_names() -> None:
    """Register the finder with Python after all others, once per process."""
    if not any(isinstance(finder, EarlierNames) for finder in sys.meta_path):
        sys.meta_path.append(EarlierNames())
