"""What can be set about the emulator, at its start or while it runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field


class SettingError(ValueError):
    """A setting that is not known or has a wrong value; the text names field, value and remedy."""


@dataclass(frozen=True)
class Settings:
    """How the emulator behaves.

    Instance: `window` jobs in the history, listed `history_order` (newest, oldest); `date_skew_seconds` moves the
    `Date` header against the clock that stamps jobs; `clock_offset_seconds` moves both; `schedule_seconds` and
    `schedule_path` make the instance start runs of its own (0: none). Login: how who is not logged in is answered
    (`refusal_style`: 401, 403, redirect, login_page), whether POSTs need a CSRF token, and its life.
    Jobs: `rate` assets a second, a checkpoint every so many assets, how a second job on an active folder is
    refused, the spelling of states (documented, window), whether a resumed job keeps its id, what a restart does to
    active jobs (continue, fail, lose), how long a cancel takes. Endpoints: the longest log page, what a download
    answers (zip, json, json_foreign), whether filters, asset status and system status exist.
    """

    window: int = 5
    history_order: str = "newest"
    date_skew_seconds: float = 0.0
    clock_offset_seconds: float = 0.0
    schedule_seconds: float = 0.0
    schedule_path: str = "/content/dam"
    refusal_style: str = "401"
    csrf: bool = False
    csrf_life_seconds: float = 600.0
    token_life_seconds: float = 86_399.0
    rate: float = 200.0
    checkpoint_every: int = 1
    waiting_seconds: float = 0.1
    cancel_seconds: float = 0.1
    active_status: int = 400
    lock_includes_overlap: bool = False
    state_style: str = "documented"
    resume_keeps_id: bool = True
    on_restart: str = "continue"
    forget_outside_window: bool = False
    default_log_limit: int = 500
    max_log_limit: int = 2000
    download_form: str = "zip"
    filters_supported: bool = True
    asset_status: bool = True
    asset_status_seconds: float = 0.1
    late_assets: int = 0
    late_seconds: float = 0.0
    system_status: bool = True
    is_database: bool = True
    database_check: str = "passed"
    awkward_ids: bool = False
    oauth_clients: dict[str, dict[str, object]] = field(default_factory=dict)
    jwt_clients: dict[str, dict[str, object]] = field(default_factory=dict)

    def patched(self, changes: Mapping[str, object]) -> Settings:
        """These settings with the changes. Raises SettingError for an unknown name or a value of another kind."""
        known = {entry.name: getattr(self, entry.name) for entry in dataclasses.fields(self)}
        for name, value in changes.items():
            if name not in known:
                raise SettingError(f"{name}: {value!r} is not a setting. Use one of {', '.join(sorted(known))}.")
            kinds: tuple[type, ...] = (type(known[name]),)
            if isinstance(known[name], float):
                kinds = (int, float)
            if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
                raise SettingError(f"{name}: {value!r} is of the wrong kind. Give a {type(known[name]).__name__}.")
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]  # names and kinds are checked above
