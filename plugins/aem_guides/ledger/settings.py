"""The options of the reconciliation in Airflow's configuration, section `[aem_guides]`."""

from __future__ import annotations

from dataclasses import dataclass

from airflow.sdk.configuration import conf

from aem_guides.ledger.findings import Remedy
from aem_guides.ledger.reconcile import ReconcilePolicy
from aem_guides.protocol.admission import MAX_ACTIVE_JOBS
from aem_guides.protocol.errors import ConfigurationError

SECTION = "aem_guides"
DEFAULT_SCHEDULE = "*/5 * * * *"
_DEFAULT_REMEDIES = "archive, adopt, alert"


@dataclass(frozen=True)
class ReconcileSettings:
    """How to reconcile. `retention_days` and `state_retention_days` of 0 keep everything.

    `max_active_jobs`: a job is resumed only while fewer jobs are active on its instance.
    """

    policy: ReconcilePolicy
    remedies: frozenset[Remedy]
    max_resumes: int
    retention_days: int
    state_retention_days: int
    max_active_jobs: int


def reconcile_schedule() -> str | None:
    """The schedule of the reconciliation: a cron expression, a preset such as `@hourly`, or None for never."""
    schedule = str(conf.get(SECTION, "reconcile_schedule", fallback=DEFAULT_SCHEDULE)).strip()
    return None if schedule.lower() in ("", "none", "never") else schedule


def reconcile_connections() -> list[str]:
    """The connections whose instances are reconciled."""
    return _words("reconcile_connections", "aem_guides_default")


def read_settings() -> ReconcileSettings:
    """All options, checked. Raises ConfigurationError."""
    return ReconcileSettings(
        policy=ReconcilePolicy(
            stall_minutes=_number("reconcile_stall_minutes", 60, least=1),
            archive_foreign=_archive_foreign(),
        ),
        remedies=frozenset(_remedies()),
        max_resumes=_number("reconcile_max_resumes", 2, least=0),
        retention_days=_number("ledger_retention_days", 730, least=0),
        state_retention_days=_number("state_retention_days", 30, least=0),
        max_active_jobs=_number("reconcile_max_active_jobs", MAX_ACTIVE_JOBS, least=1),
    )


def _archive_foreign() -> bool:
    value = str(conf.get(SECTION, "reconcile_archive", fallback="ours")).strip().lower()
    if value not in ("ours", "all"):
        raise _wrong("reconcile_archive", value, "Give `ours` or `all`.")
    return value == "all"


def _remedies() -> list[Remedy]:
    known = ", ".join(Remedy)
    try:
        return [Remedy(word) for word in _words("reconcile_remedies", _DEFAULT_REMEDIES) if word != "none"]
    except ValueError as error:
        raise _wrong("reconcile_remedies", str(error), f"Give some of {known}, or `none`.") from None


def _words(option: str, default: str) -> list[str]:
    return [word.strip() for word in str(conf.get(SECTION, option, fallback=default)).split(",") if word.strip()]


def _number(option: str, default: int, *, least: int) -> int:
    value = str(conf.get(SECTION, option, fallback=str(default))).strip()
    if not value.isascii() or not value.isdigit() or int(value) < least:
        raise _wrong(option, value, f"Give a whole number, at least {least}.")
    return int(value)


def _wrong(option: str, value: str, remedy: str) -> ConfigurationError:
    return ConfigurationError(f"[{SECTION}] {option}: {value!r} is not possible. {remedy}")
