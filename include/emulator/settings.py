"""The settings of the emulator, at its start or while it runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field

from emulator.checks import check_choice, check_fields, check_kind, check_least, check_names
from emulator.sling import STATUSES

_CHOICES: dict[str, tuple[object, ...]] = {
    "history_order": ("newest", "oldest"),
    "refusal_style": ("401", "403", "redirect", "login_page"),
    "csrf_refusal": ("text", "html"),
    "active_status": (400, 409, 500),
    "state_style": ("documented", "window"),
    "on_restart": ("continue", "fail_resumable", "lose"),
    "download_form": ("zip", "json", "json_foreign"),
    "sling_post": tuple(STATUSES),
}
_LEAST: dict[str, float] = {"rate": 0.001, "checkpoint_every": 1, "default_log_limit": 1, "max_log_limit": 1}
_ANY_NUMBER = ("date_skew_seconds", "clock_offset_seconds")
_MASK = "***"


@dataclass(frozen=True)
class Settings:
    """How the emulator behaves.

    Instance: `window` jobs in the history, listed `history_order` (newest, oldest); `date_skew_seconds` moves the
    `Date` header against the clock that stamps jobs; `clock_offset_seconds` moves both; `schedule_seconds` and
    `schedule_path` make the instance start runs of its own (0: none), as the user System.

    Login: how who is not logged in is answered (`refusal_style`: 401, 403, redirect, login_page), whether POSTs need
    a CSRF token, how its lack is answered (`csrf_refusal`: text, html), and its life. `oauth_clients` maps an id to
    `{"secret", "scopes"}`, `jwt_clients` to `{"secret", "public_key", "org", "id", "audience", "metascopes",
    "certificate_expired"}`; `token_life_seconds` is the life of the tokens they get. `token_prefix` begins every
    access and CSRF token that is given out, so that a search for it finds them all.

    Jobs: `rate` assets a second, a checkpoint every `checkpoint_every` assets, how a second job on an active folder
    is refused (`active_status`: 400, 409, 500), whether parent and child folders count (`lock_includes_overlap`), and
    whether it is refused at all (`lock`; two nodes of a cluster may overlook each other's jobs); the spelling of states
    (`state_style`: documented, window), `running_word` in place of the word for running and `errors_word` in place of
    that for the success of a job some of whose assets failed ("": none); whether a resumed
    job keeps its id; what a restart does to active jobs (`on_restart`: continue, fail_resumable, lose); how long
    waiting and cancelling take, also for jobs that are at it; whether jobs out of the window are forgotten. After a
    success, the first `late_assets` assets are still at work for `late_seconds`, and the log says so
    `late_line_seconds` after its last line.

    Endpoints: the log page (`default_log_limit`, `max_log_limit` lines), what a download answers (`download_form`:
    zip, json, json_foreign, whose files are on `foreign_origin`), whether filters (and whether their end is
    inclusive), asset status, query builder and system status exist, and what the latter says. `told_assets` maps
    patterns of asset paths to what the asset status says of those instead: `{"status", "exists", "reason", "omitted"}`,
    where `omitted` leaves them out of the answer. With `comma_fails_asset_status` it fails over a comma in a path, as
    instances before 2026.09 do.
    """

    window: int = 5
    history_order: str = "newest"
    date_skew_seconds: float = 0.0
    clock_offset_seconds: float = 0.0
    schedule_seconds: float = 0.0
    schedule_path: str = "/content/dam"
    refusal_style: str = "401"
    csrf: bool = False
    csrf_refusal: str = "text"
    csrf_life_seconds: float = 600.0
    token_life_seconds: float = 86_399.0
    token_prefix: str = ""
    rate: float = 200.0
    checkpoint_every: int = 1
    waiting_seconds: float = 0.1
    cancel_seconds: float = 0.1
    active_status: int = 400
    lock: bool = True
    lock_includes_overlap: bool = False
    state_style: str = "documented"
    running_word: str = ""
    errors_word: str = ""
    resume_keeps_id: bool = True
    on_restart: str = "continue"
    forget_outside_window: bool = False
    default_log_limit: int = 500
    max_log_limit: int = 2000
    download_form: str = "zip"
    foreign_origin: str = "http://127.0.0.2:1"
    filters_supported: bool = True
    filter_end_inclusive: bool = False
    asset_status: bool = True
    asset_status_seconds: float = 0.1
    told_assets: dict[str, dict[str, object]] = field(default_factory=dict)
    comma_fails_asset_status: bool = False
    sling_post: str = "created"
    late_assets: int = 0
    late_seconds: float = 0.0
    late_line_seconds: float = 0.0
    query_builder: bool = True
    system_status: bool = True
    is_database: bool = True
    database_check: str = "passed"
    awkward_ids: bool = False
    oauth_clients: dict[str, dict[str, object]] = field(default_factory=dict)
    jwt_clients: dict[str, dict[str, object]] = field(default_factory=dict)

    def patched(self, changes: Mapping[str, object]) -> Settings:
        """These settings with the changes. Raises BadInputError for an unknown name or a value that does not fit."""
        check_fields(self, changes)
        for name, value in changes.items():
            if name in _CHOICES:
                check_choice(name, value, _CHOICES[name])
            elif isinstance(value, (int, float)) and not isinstance(value, bool) and name not in _ANY_NUMBER:
                check_least(name, value, _LEAST.get(name, 0))
        _check_asset_facts(changes.get("told_assets", {}))
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]  # names and kinds are checked above

    def shown(self) -> dict[str, object]:
        """All settings, with the secrets of registered clients masked."""
        values = dataclasses.asdict(self)
        for name in ("oauth_clients", "jwt_clients"):
            values[name] = {
                client: {key: _MASK if key == "secret" else value for key, value in facts.items()}
                for client, facts in getattr(self, name).items()
            }
        return values


_ASSET_FACTS = {"status": "", "reason": "", "exists": True, "omitted": False}


def _check_asset_facts(given: object) -> None:
    """Raises BadInputError for facts that the asset status cannot report."""
    for pattern, facts in (given if isinstance(given, dict) else {}).items():
        check_kind(f"told_assets.{pattern}", facts, {})
        check_names(list(facts), _ASSET_FACTS, "fact of an asset")
        for name, value in facts.items():
            check_kind(f"told_assets.{pattern}.{name}", value, _ASSET_FACTS[name])
