"""A record is written in place: a decision reads and writes a few bytes, however many entries.

And it stays small for those who came once, bounded for all, and no fault when somebody changed it.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_limits_windows_exact import (
    CELL,
    COSTS,
    EVERY,
    LENGTH,
    NAME,
    ON_THE_CLOCK,
    PERIOD,
    START,
    InRedis,
    asked,
    exact,
)

from shop.limits import lua, scripts
from shop.limits.window import CELLS
from shop.quotas import CLIENT


def filled(redis_cli: Any, policies: list[str], cells: int = CELLS) -> tuple[InRedis, int]:
    """Charge something in each hundredth of a period, and return the time of the last."""
    account = InRedis(redis_cli)
    for n in range(cells):
        account.decide(START + n * CELL, policies, 1)
    return account, START + (cells - 1) * CELL


def written_whole(redis_cli: Any) -> int:
    """Return how often that was, or was read, since the statistics were reset."""
    calls = redis_cli.info("commandstats")
    return sum(calls.get(f"cmdstat_{command}", {"calls": 0})["calls"] for command in ("get", "set"))


@pytest.mark.parametrize("cost", [0, 1, 5], ids=["free", "charged", "refused"])
def test_a_full_record_is_neither_read_nor_written_whole(redis_cli: Any, cost: int) -> None:
    """Charges fall into one hundredth, or into many, each of which drops an entry."""
    account, now = filled(redis_cli, ["search"])
    if cost == 5:
        account.decide(now, ["search"], 298)
    redis_cli.config_resetstat()
    for _ in range(100):
        assert account.decide(now, ["search"], cost)[0] == (cost < 5)
    assert written_whole(redis_cli) == 0
    for n in range(40 if cost else 7):  # what is free drops nothing for good
        account.decide(now + n * CELL, ["search"], cost)
    assert written_whole(redis_cli) <= 2  # once, for room


def test_the_memory_of_a_record_is_small_and_bounded(redis_cli: Any) -> None:
    account, _ = filled(redis_cli, ["default", "search"], 1)
    assert redis_cli.strlen(NAME) <= 200
    most = 0
    for n in range(1, 500):
        account.decide(START + n * CELL, ["search", "default"], 1)
        most = max(most, redis_cli.strlen(NAME))
    assert most <= 4100 + 2600  # of 101 and of 40 entries


@pytest.mark.parametrize("left", [*range(0, 1400, 61), 3000, 3900, 3999])
def test_a_record_with_notes_that_was_cut_is_no_fault(redis_cli: Any, left: int) -> None:
    account, now = filled(redis_cli, ["search", "default"])
    redis_cli.set(NAME, redis_cli.get(NAME)[:left], keepttl=True)
    for _ in range(5):
        answer = account.decide(now, ["search", "default"], 1)
        assert answer[1] <= 110
    assert redis_cli.pttl(NAME) > 0
    assert account.decide(now + LENGTH, ["search", "default"], 1)[:2] == [1, 1]


@exact
@given(at=st.integers(0, 260), put=st.text("019: ,/\nxs-.", min_size=1, max_size=20), cost=COSTS)
def test_a_record_that_was_changed_by_hand_is_no_fault(
    redis_cli: Any, at: int, put: str, cost: int
) -> None:
    account, now = filled(redis_cli, ["write", "search"], 9)
    value = redis_cli.get(NAME)
    redis_cli.set(NAME, value[:at] + put + value[at + len(put) :])
    for n in range(3):
        held, receipt = account.hold(now + n * CELL, ["write", "search"], cost)
        assert len(held) == 8
        account.repay(now + n * CELL, receipt)
    account.pay(now, EVERY)
    for n in range(3):
        account.decide(now + n * CELL, ["search", "write"], 1)
    later = now + 3 * LENGTH
    assert account.decide(later, ["search", "write"], 1) == [1, 1, LENGTH, 0] * 2


def test_a_clock_that_is_set_back_a_little_delays_no_client_beyond_a_period(
    redis_cli: Any,
) -> None:
    """The clock goes back within a hundredth of the period, where charges join one entry."""
    account, now = filled(redis_cli, ["write"], 6)
    account.decide(now + CELL // 2, ["search", "default"], 1)
    back = now + CELL // 4
    assert account.decide(back, ["write"], 6)[:2] == [0, 6]
    assert account.decide(back, ["write"], 6)[3] <= LENGTH
    assert account.decide(back, ["search", "default"], 1)[1::4] == [2, 2]


def test_a_policy_whose_quota_and_period_were_changed_by_a_setting_is_counted_on(
    redis_cli: Any,
) -> None:
    """Some workers have the new setting, and others do not have it yet."""
    account, now = filled(redis_cli, ["search", "default"], 20)
    script = redis_cli.register_script(scripts.DECIDE.replace(lua.NOW, ON_THE_CLOCK))
    for n in range(1, 4):
        shorter = ["search", 30, PERIOD // 2, 1, CLIENT, now]
        assert script(keys=[NAME, NAME], args=shorter)[:2] == [1, 20 + 2 * n - 1]
        assert account.decide(now, ["search", "default"], 1)[1::4] == [20 + 2 * n, 20 + n]


def test_a_charge_in_place_makes_the_record_live_as_long_as_what_may_join_it(
    redis_cli: Any,
) -> None:
    script = redis_cli.register_script(scripts.DECIDE.replace(lua.NOW, ON_THE_CLOCK))
    for n in range(3):
        script(keys=[NAME, NAME], args=asked(START + n * CELL, ["search", "default"], 1))
    redis_cli.config_resetstat()
    redis_cli.pexpire(NAME, 5000)
    script(keys=[NAME, NAME], args=asked(START + 3 * CELL + 1000, ["search", "default"], 1))
    assert 9_000 < redis_cli.pttl(NAME) <= 10_100
    assert written_whole(redis_cli) == 0
