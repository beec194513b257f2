"""A record in Redis decides as `window.py` does, to the microsecond, in any sequence."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, NamedTuple

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from shop.limits import lua, scripts
from shop.limits.window import CELLS, SECOND, Window
from shop.quotas import CLIENT

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
    """The record, computed with the windows of `window.py`."""

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
CHARGING = [
    st.tuples(st.just("decide"), POLICIES, COSTS),
    st.tuples(st.just("decide"), st.just(["default", "search"]), st.just(1)),
    st.tuples(st.just("tell"), POLICIES, COSTS),
    st.tuples(st.just("hold"), POLICIES, st.integers(1, 9)),
    st.tuples(st.just("repay"), st.integers(0, 3)),
    st.tuples(st.just("pay"), DEBTS),
]
BACK = st.tuples(st.just("back"), st.integers(CELL, 2 * LENGTH))  # the clock is set
STEPS = st.one_of(CHARGING[0], *CHARGING, BACK)
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
def test_any_sequence_of_requests_is_decided_as_by_the_windows(
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
