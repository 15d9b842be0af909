"""Send alerts through Airflow's own notifiers, if one is configured."""

from __future__ import annotations

import pkgutil
from collections.abc import Sequence
from typing import cast

from airflow.sdk import BaseNotifier, Context
from airflow.sdk.configuration import conf

from aem_guides.protocol.errors import ConfigurationError

OPTION = "[aem_guides] alert_notifier"
TEXT, FINDINGS = "aem_guides_alert", "aem_guides_findings"
_EXAMPLE = '{"class": "airflow.providers.slack.notifications.slack.SlackNotifier", "kwargs": {"text": "..."}}'


def is_configured() -> bool:
    """Whether a notifier is configured."""
    return bool(_configured())


def send(context: Context, text: str, findings: Sequence[str]) -> None:
    """Send `text` through every configured notifier.

    Their templates get it as `aem_guides_alert`, and its sentences as the list `aem_guides_findings`. Raises
    ConfigurationError, and what a notifier raises.
    """
    for entry in _configured():
        enriched = cast("Context", {**context, TEXT: text, FINDINGS: list(findings)})
        _notifier(entry)(enriched)


def _configured() -> list[object]:
    try:
        value = conf.getjson("aem_guides", "alert_notifier", fallback=None)
    except ValueError as error:
        raise ConfigurationError(
            f"{OPTION}: it is not valid JSON ({error}). Give {_EXAMPLE}, or a list of such objects."
        ) from None
    if not value:
        return []
    return list(value) if isinstance(value, list) else [value]


def _notifier(entry: object) -> BaseNotifier:
    match entry:
        case {"class": str(name), **further} if further.keys() <= {"kwargs"}:
            try:
                kind = pkgutil.resolve_name(name)
            except (ImportError, AttributeError, ValueError) as error:
                raise ConfigurationError(f"{OPTION}: {name!r} cannot be imported ({error}). Install it.") from None
            if not (isinstance(kind, type) and issubclass(kind, BaseNotifier)):
                raise ConfigurationError(
                    f"{OPTION}: {name!r} is not an Airflow notifier. Give a subclass of BaseNotifier."
                )
            kwargs = further.get("kwargs")
            return kind(**kwargs) if isinstance(kwargs, dict) else kind()
    raise ConfigurationError(f"{OPTION}: {entry!r} is not a notifier. Give {_EXAMPLE}, or a list of such objects.")
