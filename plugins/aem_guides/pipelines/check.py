"""The task that looks at the instance while the run is planned."""

from __future__ import annotations

from collections.abc import Callable

from airflow.sdk import Context

from aem_guides.operators import AemGuidesCheckInstanceOperator
from aem_guides.protocol.errors import InvalidInputError
from aem_guides.protocol.models import JsonValue

Require = Callable[[Context], object]


class CheckOperator(AemGuidesCheckInstanceOperator):
    """Check the instance, beside the task that plans: a run does not wait for one after the other.

    :param require: checks the parameters of the run, as the task that plans does. Raises InvalidInputError; then
        nothing is sent, and that task fails.
    """

    def __init__(self, *, require: Require, **kwargs: object) -> None:
        kwargs.setdefault("trigger_rule", "always")
        super().__init__(**kwargs)  # type: ignore[arg-type]  # the operator's own arguments
        self._require = require

    def execute(self, context: Context) -> JsonValue:
        """Look, unless the parameters are wrong."""
        try:
            self._require(context)
        except InvalidInputError as error:
            self.log.warning("The instance is not checked, because the parameters are wrong: %s", error)
            return None
        return super().execute(context)
