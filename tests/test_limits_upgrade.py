"""Workers of this version and of the one before, which writes a record whole, count together.

Whoever decides, no more passes than the quota, and nothing is refused for longer than the rules
say: what was charged counts for a period, and for a hundredth of it longer at most.
"""

from __future__ import annotations

from typing import Any

from former import lua as former_lua
from former import scripts as former_scripts
from hypothesis import given
from hypothesis import strategies as st
from test_limits_windows_exact import (
    CELL,
    CHARGING,
    GAPS,
    LENGTH,
    NAME,
    QUOTAS,
    START,
    InRedis,
    Receipt,
    exact,
)

from shop.limits import lua, scripts

STEPS = st.one_of(*CHARGING)


class Charged:
    """Every charge, with its time."""

    def __init__(self) -> None:
        self._charges: list[tuple[int, str, int]] = []

    def add(self, time: int, policy: str, cost: int) -> None:
        self._charges.append((time, policy, cost))

    def take_back(self, receipt: Receipt) -> None:
        for policy, (cost, _) in receipt.charged.items():
            self._charges.remove((receipt.moment, policy, cost))

    def used(self, policy: str, now: int, length: int = LENGTH) -> int:
        return sum(
            cost for time, name, cost in self._charges if name == policy and time > now - length
        )


@exact
@given(turns=st.lists(st.tuples(GAPS, st.booleans(), STEPS), min_size=60, max_size=150))
def test_workers_of_both_versions_in_turn_count_every_charge_and_none_for_longer(
    redis_cli: Any, turns: list[tuple[int, bool, tuple[Any, ...]]]
) -> None:
    versions = [
        InRedis(redis_cli, scripts, lua.NOW),
        InRedis(redis_cli, former_scripts, former_lua.NOW),
    ]
    charged, held, now = Charged(), list[Receipt](), START
    for gap, is_former, (kind, *details) in turns:
        now += gap
        version = versions[is_former]
        if kind == "repay":
            if len(held) > details[0]:
                receipt = held.pop(details[0])
                version.repay(now, receipt)
                charged.take_back(receipt)
            continue
        if kind == "pay":
            version.pay(now, details[0])
            for policy, age, cost in details[0]:
                charged.add(now - age, policy, cost)
            continue
        policies, cost = details
        if kind == "hold":
            answer, receipt = version.hold(now, policies, cost)
            held += [receipt] * all(answer[::4])
        else:
            answer = getattr(version, kind)(now, policies, cost)
        is_charged = kind != "tell" and all(answer[::4])
        for policy, at in zip(policies, range(0, len(answer), 4), strict=True):
            passes, used, reset, wait = answer[at : at + 4]
            price = min(cost, QUOTAS[policy])
            if passes:
                assert price == 0 or charged.used(policy, now) + price <= QUOTAS[policy]
            else:
                assert charged.used(policy, now, LENGTH + CELL) + price > QUOTAS[policy]
            if is_charged:
                charged.add(now, policy, price)
            assert charged.used(policy, now) <= used <= charged.used(policy, now, LENGTH + CELL)
            assert 0 <= reset <= LENGTH
            assert bool(wait) == (not passes)


def test_a_record_of_this_version_keeps_its_charges_when_the_one_before_writes_it(
    redis_cli: Any,
) -> None:
    """The reverse holds, too, with the refusals of both."""
    new = InRedis(redis_cli, scripts, lua.NOW)
    old = InRedis(redis_cli, former_scripts, former_lua.NOW)
    for n in range(20):
        assert new.decide(START + n * CELL, ["write", "default"], 1)[0] == (n < 6)
    assert old.decide(START + 20 * CELL, ["write", "default"], 1)[:2] == [0, 6]
    assert redis_cli.get(NAME).startswith("write 6/6 in 10 s, 0000015 refused: 17")
    assert new.decide(START + 21 * CELL, ["write", "default"], 1) == [
        *(0, 6, LENGTH - 21 * CELL, LENGTH - 21 * CELL), *(1, 6, LENGTH - 21 * CELL, 0)
    ]  # fmt: skip
    assert new.decide(START + LENGTH, ["write"], 1)[:2] == [1, 6]
    assert redis_cli.get(NAME).startswith("write 0000006/6 in 10 s, 0000016 refused: 00")
