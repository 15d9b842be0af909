"""Settings and faults are checked: a refusal names field, value and remedy."""

from __future__ import annotations

import pytest

from emulator.checks import BadInputError
from emulator.faults import Fault
from emulator.settings import Settings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("speed", 1),
        ("window", "five"),
        ("window", True),
        ("window", -1),
        ("rate", 0),
        ("checkpoint_every", 0),
        ("active_status", 418),
        ("refusal_style", "shrug"),
        ("csrf", 1),
        ("on_restart", "explode"),
        ("history_order", ""),
    ],
)
def test_a_wrong_setting_is_refused(name: str, value: object) -> None:
    with pytest.raises(BadInputError, match=rf"^{name}: .*(Use|Give) "):
        Settings().patched({name: value})


def test_a_clock_may_be_set_back_and_a_whole_number_does_for_a_fraction() -> None:
    assert Settings().patched({"clock_offset_seconds": -5, "rate": 3}).rate == 3


def test_secrets_of_clients_are_not_shown() -> None:
    shown = Settings().patched({"oauth_clients": {"me": {"secret": "canary", "scopes": ["a"]}}}).shown()
    assert "canary" not in repr(shown)
    assert "scopes" in repr(shown)


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"endpoint": "start"}, "kind"),
        ({"endpoint": "start", "kind": "explode"}, "kind"),
        ({"endpoint": "nowhere", "kind": "delay"}, "endpoint"),
        ({"endpoint": "start", "kind": "huge_line"}, "endpoint"),
        ({"endpoint": "start", "kind": "delay", "seconds": "long"}, "seconds"),
        ({"endpoint": "start", "kind": "delay", "count": 0}, "count"),
        ({"endpoint": "start", "kind": "delay", "after": -1}, "after"),
        ({"endpoint": "start", "kind": "status", "status": 99}, "status"),
        ({"endpoint": "start", "kind": "status", "status": 700}, "status"),
        ({"endpoint": "start", "kind": "status", "headers": {"Retry-After": 5}}, "headers"),
        ({"endpoint": "start", "kind": "status", "struck": 1}, "struck"),
        ({"endpoint": "download", "kind": "bad_zip", "mode": "soggy"}, "mode"),
        ({"endpoint": "download", "kind": "zip_odd"}, "body"),
        ({"endpoint": "download", "kind": "zip_odd", "body": '{"nams": []}'}, "body"),
        ({"endpoint": "download", "kind": "zip_odd", "body": '{"names": [""]}'}, "names"),
        ({"endpoint": "download", "kind": "zip_odd", "body": '{"names": ["\\ud83d"]}'}, "names"),
        ({"endpoint": "download", "kind": "zip_odd", "body": '{"behind": 7}'}, "behind"),
        ({"endpoint": "download", "kind": "zip_odd", "body": '{"wrong_crc": 1}'}, "wrong_crc"),
        ({"endpoint": "download", "kind": "zip_odd", "body": '{"wrong_crc": true}'}, "wrong_crc"),
    ],
)
def test_a_wrong_fault_is_refused(wrong: dict[str, object], field: str) -> None:
    with pytest.raises(BadInputError, match=rf"^{field}: .*(Use|Give) "):
        Fault.from_json(wrong)


def test_a_fault_lets_calls_pass_and_strikes_as_often_as_it_says() -> None:
    fault = Fault.from_json({"endpoint": "start", "kind": "delay", "count": 2, "after": 1})
    assert [fault.strikes("start") for _ in range(5)] == [False, True, True, False, False]
    assert not fault.strikes("status")
    assert (fault.shown()["remaining"], fault.struck) == (0, 2)


def test_a_fault_without_count_strikes_for_ever_at_every_endpoint() -> None:
    fault = Fault.from_json({"endpoint": "*", "kind": "status", "count": None})
    assert all(fault.strikes(endpoint) for endpoint in ("start", "logs") * 50)
