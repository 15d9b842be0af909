"""How many failed assets are too many."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aem_guides.protocol.errors import InvalidInputError
from aem_guides.protocol.procedures.verify import FailureLimit


def limit(value: object) -> FailureLimit:
    found = FailureLimit.parse("fail_on_asset_failures", value)
    assert found is not None
    return found


@pytest.mark.parametrize("value", [None, "", "None"])
def test_nothing_sets_no_limit(value: object) -> None:
    assert FailureLimit.parse("fail_on_asset_failures", value) is None


@pytest.mark.parametrize(
    "value",
    [
        "100.000001%",
        "5%%",
        "1 000",
        "+5",
        ".5%",
        "\u0665",
        "00",
        "0",
        "-1",
        "0%",
        "101%",
        "5 percent",
        "1e3",
        "%",
        "1.5",
        0,
        True,
        0.05,
        10.0,
        1e300,
        "NaN%",
        [1],
    ],
)
def test_an_invalid_limit_is_refused_with_field_value_and_remedy(value: object) -> None:
    with pytest.raises(InvalidInputError, match=r"fail_on_asset_failures.*a share such as 2\.5%"):
        FailureLimit.parse("fail_on_asset_failures", value)


def test_a_count_is_reached_by_as_many_and_a_share_by_as_large_a_part() -> None:
    assert [limit("2").is_reached(n, 1000) for n in (0, 1, 2, 3)] == [False, False, True, True]
    assert [limit(" 2.5 %").is_reached(n, 1000) for n in (0, 24, 25, 26)] == [False, False, True, True]
    assert str(limit("2.50%")) == "2.5%"
    assert (str(limit("100.0%")), str(limit(" 5 % ")), str(limit("5\n"))) == ("100%", "5%", "5")
    assert limit("0.07%").is_reached(7, 10_000), "as it is written, not as a float has it"


@given(st.integers(1, 10**9), st.integers(0, 10**6))
def test_without_a_failure_nothing_is_too_many(count: int, total: int) -> None:
    assert not limit(count).is_reached(0, total)
    assert not limit("0.01%").is_reached(0, total)


@given(st.floats(0.01, 100).map(lambda share: round(share, 2)), st.integers(1, 10**6))
def test_all_failed_is_always_too_many(share: float, total: int) -> None:
    assert limit(f"{share:.2f}%").is_reached(total, total)
