"""A record in Redis does as `window.py` does, to the microsecond, in whatever order things come.

Also in its form: a decision reads and writes a few bytes of it, however many entries there are.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from shop.limits import lua, scripts
from shop.limits.decision import CLIENT
from shop.limits.window import CELLS, SECOND, Window

if TYPE_CHECKING:
    from collections.abc import Iterable

PERIOD = 10  # seconds
LENGTH = PERIOD * SECOND
CELL = LENGTH // CELLS
START = 1_795_460_923_000_000
QUOTAS = {"default": 40, "write": 6, "search": 400}
NAME = "rate_limit:x"
ON_THE_CLOCK = "local now = tonumber(table.remove(ARGV))"


class Receipt(NamedTuple):
    moment: int
    charged: dict[str, tuple[int, int]]  # by policy: the cost, and the time of the entry before


class InRedis:
    """The record, on a clock that each call sets."""

    def __init__(self, redis_cli: Any, version: Any = scripts, clock: str = lua.NOW) -> None:
        redis_cli.delete(NAME)
        self._hold, self._decide, self._tell, self._repay, self._pay = (
            redis_cli.register_script(
                # Redis, whose own clock goes on, must not let the record expire
                script.replace(clock, ON_THE_CLOCK).replace("(ends - now) / 1000", "1000000")
            )
            for script in (
                version.HOLD, version.DECIDE, version.TELL, version.REPAY, version.PAY
            )
        )  # fmt: skip

    def decide(self, now: int, policies: Iterable[str], cost: int) -> list[int]:
        answer: list[int] = self._decide(keys=[NAME, NAME], args=asked(now, policies, cost))
        return answer

    def tell(self, now: int, policies: Iterable[str], cost: int) -> list[int]:
        answer: list[int] = self._tell(keys=[NAME, NAME], args=asked(now, policies, cost))
        return answer

    def hold(self, now: int, policies: list[str], cost: int) -> tuple[list[int], Receipt]:
        answer, (moment, *joined) = self._hold(keys=[NAME, NAME], args=asked(now, policies, cost))
        charged = {
            policy: (min(cost, QUOTAS[policy]), before)
            for policy, before in zip(policies, joined, strict=True)
        }
        return answer, Receipt(moment, charged)

    def repay(self, now: int, receipt: Receipt) -> None:
        debts = [
            (policy, QUOTAS[policy], PERIOD, *charged)
            for policy, charged in receipt.charged.items()
        ]
        self._repay(keys=[NAME], args=[receipt.moment, *flat(debts), now])

    def pay(self, now: int, debts: list[tuple[str, int, int]]) -> None:
        charges = [(policy, QUOTAS[policy], PERIOD, age, cost) for policy, age, cost in debts]
        self._pay(keys=[NAME], args=[secrets.token_hex(8), *flat(charges), now])


class InWindows:
    """The same, with the windows of `window.py`."""

    def __init__(self) -> None:
        self.windows = {policy: Window(LENGTH) for policy in QUOTAS}

    def hold(
        self, now: int, policies: list[str], cost: int, *, passes: bool = True
    ) -> tuple[list[int], Receipt]:
        answer, charged = [], {}
        for policy in policies:
            window = self._tidied(policy, now)
            window.advance(now)
            price = min(cost, QUOTAS[policy])
            passes = passes and (not price or window.used + price <= QUOTAS[policy])
        for policy in policies:
            window, price = self.windows[policy], min(cost, QUOTAS[policy])
            excess = window.used + price - QUOTAS[policy] if price else 0
            wait = window.wait(now, excess)
            joined = window.charge(now, price) if passes and price else 0
            charged[policy] = (price, joined)
            answer += [int(excess <= 0), window.used, window.reset(now), wait]
        return answer, Receipt(now, charged)

    def decide(self, now: int, policies: list[str], cost: int) -> list[int]:
        return self.hold(now, policies, cost)[0]

    def tell(self, now: int, policies: list[str], cost: int) -> list[int]:
        return self.hold(now, policies, cost, passes=False)[0]

    def repay(self, now: int, receipt: Receipt) -> None:
        for policy, (cost, joined) in receipt.charged.items():
            self.windows[policy].advance(now)
            self.windows[policy].repay(receipt.moment, cost, joined)

    def pay(self, now: int, debts: list[tuple[str, int, int]]) -> None:
        for policy, age, cost in debts:
            self.windows[policy].advance(now)
            self.windows[policy].entries.append((now - age, cost))
            self._merge(policy, now)

    def _tidied(self, policy: str, now: int) -> Window:
        """Return a window as it is after the clock was set back."""
        entries = self.windows[policy].entries
        if entries and entries[-1][0] > now:
            self._merge(policy, now)
        return self.windows[policy]

    def _merge(self, policy: str, now: int) -> None:
        """Put entries in order, one for each cell, and none in the future."""
        merged: list[tuple[int, int]] = []
        entries = self.windows[policy].entries
        for time, cost in sorted((min(time, now), cost) for time, cost in entries):
            before = merged.pop()[1] if merged and merged[-1][0] // CELL == time // CELL else 0
            merged.append((time, cost + before))
        self.windows[policy] = Window(LENGTH, merged)


def asked(now: int, policies: Iterable[str], cost: int) -> list[Any]:
    return [*flat((policy, QUOTAS[policy], PERIOD, cost, CLIENT) for policy in policies), now]


def flat(rows: Iterable[Iterable[Any]]) -> list[Any]:
    return [value for row in rows for value in row]


GAPS = st.one_of(
    st.integers(0, 2000),
    st.integers(0, CELL * 3),
    st.integers(0, LENGTH // 2),
    st.sampled_from([CELL, CELL - 1, CELL + 1, LENGTH - 1, LENGTH, LENGTH + 1, LENGTH + CELL]),
)
POLICIES = st.lists(st.sampled_from(sorted(QUOTAS)), min_size=1, max_size=3, unique=True)
COSTS = st.one_of(st.just(1), st.just(1), st.integers(0, 9), st.just(50))
DEBTS = st.lists(
    st.tuples(
        st.sampled_from(sorted(QUOTAS)), st.integers(0, LENGTH - 2 * CELL), st.integers(1, 9)
    ),
    min_size=1,
    max_size=4,
)
EVERY = [(policy, 0, 1) for policy in QUOTAS]
STEPS = st.one_of(
    st.tuples(st.just("decide"), POLICIES, COSTS),
    st.tuples(st.just("decide"), POLICIES, COSTS),
    st.tuples(st.just("decide"), st.just(["default", "search"]), st.just(1)),
    st.tuples(st.just("tell"), POLICIES, COSTS),
    st.tuples(st.just("hold"), POLICIES, st.integers(1, 9)),
    st.tuples(st.just("repay"), st.integers(0, 3)),
    st.tuples(st.just("pay"), DEBTS),
    st.tuples(st.just("back"), st.integers(CELL, 2 * LENGTH)),
)
exact = settings(
    max_examples=200,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@exact
@given(steps=st.lists(st.tuples(GAPS, STEPS), min_size=50, max_size=150))
def test_whatever_comes_is_decided_as_the_windows_do(
    redis_cli: Any, steps: list[tuple[int, tuple[Any, ...]]]
) -> None:
    here, there, now = InRedis(redis_cli), InWindows(), START
    held: list[Receipt] = []
    for gap, (kind, *details) in steps:
        now += gap
        if kind == "repay":
            if len(held) > details[0]:
                receipt = held.pop(details[0])
                here.repay(now, receipt)
                there.repay(now, receipt)
        elif kind == "pay":
            here.pay(now, details[0])
            there.pay(now, details[0])
        elif kind == "back":
            # What has ended may be kept until the next charge, and would count again then.
            here.pay(now, EVERY)
            there.pay(now, EVERY)
            now -= details[0]
            every = sorted(QUOTAS)  # each of which is moved to now when it is asked
            assert here.decide(now, every, 0) == there.decide(now, every, 0)
        elif kind == "hold":
            found, receipt = here.hold(now, *details)
            assert (found, receipt) == there.hold(now, *details)
            if all(found[::4]):
                held.append(receipt)
        else:
            assert getattr(here, kind)(now, *details) == getattr(there, kind)(now, *details)


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
    """In one hundredth, and in one after the other, each of which drops an entry."""
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


def test_a_client_that_came_once_takes_little_and_nobody_takes_much(redis_cli: Any) -> None:
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


def test_a_clock_that_is_set_back_a_little_holds_nobody_for_longer_than_a_period(
    redis_cli: Any,
) -> None:
    """By less than a hundredth of the period, in which one entry is joined whatever its time."""
    account, now = filled(redis_cli, ["write"], 6)
    account.decide(now + CELL // 2, ["search", "default"], 1)
    back = now + CELL // 4
    assert account.decide(back, ["write"], 6)[:2] == [0, 6]
    assert account.decide(back, ["write"], 6)[3] <= LENGTH
    assert account.decide(back, ["search", "default"], 1)[1::4] == [2, 2]


def test_a_policy_whose_quota_and_period_were_changed_by_a_setting_is_counted_on(
    redis_cli: Any,
) -> None:
    """Between workers that have the setting and workers that do not have it yet."""
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
