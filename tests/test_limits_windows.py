"""The sliding window, held to an exact model: in Redis as a script, and in a worker alone.

The model keeps every charge. An implementation may let a request pass only where the model has
room for it, and must do so where the model, with a period that is 1 % longer, still has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import records
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from shop.limits import fallback, lua, scripts
from shop.limits.window import CELLS, SECOND, Window
from shop.quotas import ADDRESS, CLIENT, Charge, Payers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PERIOD = 10  # seconds
LENGTH = PERIOD * SECOND
CELL = LENGTH // CELLS
START = 1_795_460_923_000_000
QUOTAS = {"default": 7, "write": 3, "search": 40}
X = Payers("x", "x")
RECORDS = ["rate_limit:x", "rate_limit:x"]  # of a client and of its address, which are one here
ON_THE_CLOCK = "local now = tonumber(table.remove(ARGV))"


class Answer(NamedTuple):
    passes: bool
    used: int
    reset: int  # microseconds, as the next
    wait: int


Decide = Any  # (now, charges, payers) -> list[Answer]


@pytest.fixture(params=["redis", "worker"])
def make_decide(
    request: pytest.FixtureRequest, redis_cli: Any, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], Decide]:
    """Make a decider that has counted nothing, on a clock that the test sets."""
    if request.param == "worker":

        def in_worker() -> Decide:
            counter = fallback.Fallback(1)

            def decide(now: int, charges: Sequence[Charge], payers: Payers = X) -> list[Answer]:
                monkeypatch.setattr(fallback, "_now", lambda: now)
                return [
                    Answer(u.passes, u.used, round(u.reset * SECOND), round(u.wait * SECOND))
                    for u in counter.decide(payers, charges)
                ]

            return decide

        return in_worker

    script = redis_cli.register_script(scripts.DECIDE.replace(lua.NOW, ON_THE_CLOCK))

    def in_redis() -> Decide:
        redis_cli.delete("rate_limit:x")

        def decide(now: int, charges: Sequence[Charge], payers: Payers = X) -> list[Answer]:
            arguments = [value for charge in charges for value in charge]
            found = script(keys=[f"rate_limit:{one}" for one in payers], args=[*arguments, now])
            assert len(redis_cli.get("rate_limit:x") or "") <= 4100 * len(QUOTAS)
            return [Answer(bool(found[i]), *found[i + 1 : i + 4]) for i in range(0, len(found), 4)]

        return decide

    return in_redis


class Model:
    """Every charge, with its time."""

    def __init__(self) -> None:
        self.charged: list[tuple[int, str, int]] = []

    def used(self, policy: str, now: int, length: int) -> int:
        return sum(
            cost for time, name, cost in self.charged if name == policy and time > now - length
        )


GAPS = st.one_of(
    st.integers(0, 2000),
    st.integers(0, CELL * 3),
    st.integers(0, LENGTH // 2),
    st.sampled_from([CELL, CELL - 1, CELL + 1, LENGTH - 1, LENGTH, LENGTH + 1, LENGTH + CELL]),
)
COSTS = st.one_of(st.just(1), st.integers(0, 9))
REQUESTS = st.lists(
    st.tuples(
        GAPS, st.lists(st.sampled_from(sorted(QUOTAS)), min_size=1, max_size=3, unique=True), COSTS
    ),
    min_size=40,  # enough to fill windows, and to see them end
    max_size=120,
)


thorough = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def charges(policies: Sequence[str], cost: int) -> list[Charge]:
    return [Charge(policy, QUOTAS[policy], PERIOD, cost, CLIENT) for policy in policies]


@thorough
@given(requests=REQUESTS)
def test_any_arrivals_are_decided_as_the_exact_model_would(
    make_decide: Callable[[], Decide], requests: list[tuple[int, list[str], int]]
) -> None:
    decide, model, now = make_decide(), Model(), START
    for gap, policies, cost in requests:
        now += gap
        answers: list[Answer] = decide(now, charges(policies, cost))
        charged = all(answer.passes for answer in answers)
        for policy, answer in zip(policies, answers, strict=True):
            price = min(cost, QUOTAS[policy])
            used = model.used(policy, now, LENGTH)
            at_most = model.used(policy, now, LENGTH + CELL)
            if answer.passes:
                assert price == 0 or used + price <= QUOTAS[policy]
                assert answer.wait == 0
            else:
                assert at_most + price > QUOTAS[policy]
                assert answer.wait > 0
            if charged:
                model.charged.append((now, policy, price))
            more = price if charged else 0
            assert used + more <= answer.used <= at_most + more
            assert 0 <= answer.reset <= LENGTH
            assert bool(answer.reset) == bool(answer.used)


@thorough
@given(requests=REQUESTS, cost=st.integers(1, 50))
def test_the_wait_of_a_refused_request_is_exact(
    make_decide: Callable[[], Decide], requests: list[tuple[int, list[str], int]], cost: int
) -> None:
    decide, now = make_decide(), START
    for gap, policies, some in requests:
        now += gap
        decide(now, charges(policies, some))
    asked = charges(sorted(QUOTAS), cost)
    answers: list[Answer] = decide(now, asked)
    wait = max(answer.wait for answer in answers)
    if wait:
        assert not all(answer.passes for answer in decide(now + wait - 1, asked))
        assert all(answer.passes for answer in decide(now + wait, asked))


def test_a_request_refused_by_one_policy_is_charged_to_none(
    make_decide: Callable[[], Decide],
) -> None:
    decide = make_decide()
    both = charges(["default", "write"], 1)
    passed = [all(answer.passes for answer in decide(START, both)) for _ in range(9)]
    assert passed == [True] * 3 + [False] * 6
    assert [answer.used for answer in decide(START, charges(["default", "write"], 0))] == [3, 3]


def test_a_quota_that_was_lowered_refuses_until_there_is_room(
    make_decide: Callable[[], Decide],
) -> None:
    decide = make_decide()
    for _ in range(7):
        decide(START, charges(["default"], 1))
    lower = [Charge("default", 2, PERIOD, 1, CLIENT)]
    assert decide(START + 1, lower) == [
        Answer(passes=False, used=7, reset=LENGTH - 1, wait=LENGTH - 1)
    ]
    assert decide(START + 1, [Charge("default", 2, PERIOD, 0, CLIENT)])[0].passes
    assert decide(START + LENGTH, lower) == [Answer(passes=True, used=1, reset=LENGTH, wait=0)]


def test_a_clock_that_is_set_back_delays_no_client_for_longer_than_a_period(redis_cli: Any) -> None:
    """A new master may have such a clock."""
    script = redis_cli.register_script(scripts.DECIDE.replace(lua.NOW, ON_THE_CLOCK))

    def decide(now: int) -> list[int]:
        found: list[int] = script(keys=RECORDS, args=["default", 7, PERIOD, 1, CLIENT, now])
        return found

    for second in range(7):
        decide(START + second * SECOND)
    back = START - 3600 * SECOND
    assert decide(back) == [0, 7, LENGTH, LENGTH]
    assert decide(back + SECOND) == [0, 7, LENGTH - SECOND, LENGTH - SECOND]
    assert decide(back + LENGTH) == [1, 1, LENGTH, 0]


def test_a_payment_is_charged_at_its_own_time(redis_cli: Any) -> None:
    """The payment comes after later charges, and above the quota."""
    decide = redis_cli.register_script(scripts.DECIDE.replace(lua.NOW, ON_THE_CLOCK))
    pay = redis_cli.register_script(scripts.PAY.replace(lua.NOW, ON_THE_CLOCK))
    name, now = "rate_limit:x", START + 8 * SECOND
    for second in (0, 6):
        decide(keys=RECORDS, args=["default", 7, PERIOD, 2, CLIENT, START + second * SECOND])
    debts = [("default", 7, PERIOD, age * SECOND, 2) for age in (11, 5, 1)]
    for _ in range(2):  # the second one is the same payment
        pay(keys=[name], args=["5e1f", *[value for debt in debts for value in debt], now])
    free = ["default", 7, PERIOD, 0, CLIENT]
    assert decide(keys=RECORDS, args=[*free, now]) == [1, 8, 2 * SECOND, 0]
    ages = [decide(keys=RECORDS, args=[*free, now + s * SECOND])[1] for s in (1, 2, 5, 8, 9)]
    assert ages == [8, 6, 4, 2, 0]


def test_charges_of_one_cell_stay_as_long_as_the_last_of_them(redis_cli: Any) -> None:
    decide = redis_cli.register_script(scripts.DECIDE.replace(lua.NOW, ON_THE_CLOCK))
    pay = redis_cli.register_script(scripts.PAY.replace(lua.NOW, ON_THE_CLOCK))
    name, now = "rate_limit:x", START + SECOND
    debts = [("default", 7, PERIOD, age, 1) for age in (SECOND - CELL // 2, SECOND)]
    pay(keys=[name], args=["5e1f", *[value for debt in debts for value in debt], now])
    free = ["default", 7, PERIOD, 0, CLIENT]
    last = START + CELL // 2 + LENGTH
    assert [decide(keys=RECORDS, args=[*free, now])[1] for now in (last - 1, last)] == [2, 0]


def test_a_payment_is_known_as_long_as_its_record_lives(redis_cli: Any) -> None:
    decide = redis_cli.register_script(scripts.DECIDE)
    pay = redis_cli.register_script(scripts.PAY)
    for identifier in ("5e1f", "ab01", "5e1f"):
        pay(keys=["rate_limit:x"], args=[identifier, "default", 7, PERIOD, 0, 1])
        used = decide(keys=RECORDS, args=["default", 7, PERIOD, 1, CLIENT])[1]
    assert used == 5


def test_a_request_refused_by_one_record_is_charged_to_neither(
    make_decide: Callable[[], Decide],
) -> None:
    """The records are the client's own and the one that its address shares with others."""
    decide = make_decide()

    def ask(client: str, cost: int = 1) -> list[Answer]:
        both = [
            Charge("default", 3, PERIOD, cost, CLIENT), Charge("address", 5, PERIOD, cost, ADDRESS)
        ]  # fmt: skip
        answers: list[Answer] = decide(START, both, Payers(client, "x"))
        return answers

    statuses = [[answer.passes for answer in ask(client)] for client in "aaaabbb"]
    assert statuses == [[True, True]] * 3 + [[False, True]] + [[True, True]] * 2 + [[True, False]]
    assert [answer.used for answer in ask("a", 0) + ask("b", 0)] == [3, 5, 2, 5]


class Account:
    """The record x in Redis, on a clock that each call sets."""

    def __init__(self, redis_cli: Any) -> None:
        self._redis = redis_cli
        redis_cli.delete("rate_limit:x")
        self._decide, self._hold, self._repay = (
            redis_cli.register_script(
                script.replace(lua.NOW, ON_THE_CLOCK).replace("(ends - now) / 1000", "1000000")
            )  # Redis, whose own clock goes on, must not let the record expire
            for script in (scripts.DECIDE, scripts.HOLD, scripts.REPAY)
        )

    def decide(self, now: int, asked: Sequence[Charge]) -> list[int]:
        """Return what is used of each policy then."""
        answer: list[int] = self._decide(keys=RECORDS, args=[*flat(asked), now])
        return answer[1::4]

    def hold(self, now: int, asked: Sequence[Charge]) -> list[Any] | None:
        """Return what repays the charge, None if it was refused."""
        answer, (moment, *joined) = self._hold(keys=RECORDS, args=[*flat(asked), now])
        receipt: list[Any] = [moment]
        for charge, before in zip(asked, joined, strict=True):
            cost = min(charge.cost, charge.quota)
            receipt += (charge.policy, charge.quota, charge.period, cost, before)
        return receipt if all(answer[::4]) else None

    def repay(self, now: int, receipt: list[Any]) -> None:
        self._repay(keys=["rate_limit:x"], args=[*receipt, now])

    def entries(self, now: int) -> dict[str, list[str]]:
        """Return those of each policy that are not a period old."""
        found = {}
        for policy, line in records.counted(self._redis.get("rate_limit:x")).items():
            if live := [one for one in line.entries if int(one[:16]) + LENGTH > now]:
                found[policy] = live
        return found


def flat(asked: Sequence[Charge]) -> list[Any]:
    return [value for charge in asked for value in charge]


@thorough
@given(requests=REQUESTS, cost=st.integers(1, 9))
def test_a_charge_that_is_repaid_leaves_the_record_as_it_was(
    redis_cli: Any, requests: list[tuple[int, list[str], int]], cost: int
) -> None:
    account, now = Account(redis_cli), START
    asked = charges(["default", "search"], cost)
    for gap, policies, some in requests:
        now += gap
        account.decide(now, charges(policies, some))
        before = account.entries(now)
        if receipt := account.hold(now, asked):
            assert account.entries(now) != before
            account.repay(now, receipt)
            assert account.entries(now) == before


@thorough
@given(requests=REQUESTS, cost=st.integers(1, 9), gaps=st.lists(st.integers(0, CELL), max_size=5))
def test_a_charge_that_others_have_followed_is_repaid_alone(
    redis_cli: Any, requests: list[tuple[int, list[str], int]], cost: int, gaps: list[int]
) -> None:
    account, now = Account(redis_cli), START
    for gap, policies, some in requests:
        now += gap
        account.decide(now, charges(policies, some))
    receipt = account.hold(now, charges(["search"], cost))
    for gap in gaps:
        now += gap
        account.decide(now, charges(["search", "default"], 1))
    free = charges(["search", "default"], 0)
    before = account.decide(now, free)
    if receipt:
        account.repay(now, receipt)
        assert account.decide(now, free) == [before[0] - cost, before[1]]
    with_all = sum(int(one[17:]) for one in account.entries(now).get("search", []))
    assert with_all == account.decide(now, free)[0]


def test_a_charge_that_is_repaid_when_it_is_over_changes_nothing(redis_cli: Any) -> None:
    account = Account(redis_cli)
    receipt = account.hold(START, charges(["default"], 2))
    assert receipt
    later = START + LENGTH
    account.decide(later, charges(["default"], 1))
    account.repay(later, receipt)
    assert account.decide(later, charges(["default"], 0)) == [1]


@thorough
@given(requests=REQUESTS, cost=st.integers(1, 9))
def test_the_fallback_of_a_worker_repays_exactly(
    requests: list[tuple[int, list[str], int]], cost: int
) -> None:
    window, now = Window(LENGTH), START
    for gap, _, some in requests:
        now += gap
        window.advance(now)
        window.charge(now, some + 1)
        before = (window.used, list(window.entries))
        window.repay(now, cost, window.charge(now, cost))
        assert (window.used, list(window.entries)) == before


def test_a_record_lives_as_long_as_its_latest_entry(redis_cli: Any) -> None:
    script = redis_cli.register_script(scripts.DECIDE.replace(lua.NOW, ON_THE_CLOCK))
    both = ["default", 7, PERIOD, 1, CLIENT, "write", 7, PERIOD, 1, CLIENT]
    script(keys=RECORDS, args=[*both, START])
    script(keys=RECORDS, args=["default", 7, PERIOD, 1, CLIENT, START + 5 * SECOND])
    assert redis_cli.pttl("rate_limit:x") > 9_000
    script(keys=RECORDS, args=["write", 7, PERIOD, 1, CLIENT, START + 7 * SECOND])
    assert redis_cli.pttl("rate_limit:x") > 9_000


def test_a_refusal_is_noted_without_writing_the_record_anew(redis_cli: Any) -> None:
    script = redis_cli.register_script(scripts.DECIDE)
    for _ in range(5):
        script(keys=RECORDS, args=["default", 2, PERIOD, 1, CLIENT])
    line = records.counted(redis_cli.get("rate_limit:x"))["default"]
    assert (line.used, line.refused) == ("2/2", 3)
    assert 1 <= len(line.entries) <= 2
    assert 9_000 < redis_cli.pttl("rate_limit:x") <= 10_100


@pytest.mark.parametrize("left", range(0, 120, 7))
def test_a_record_that_was_cut_is_counted_as_far_as_it_is_whole(redis_cli: Any, left: int) -> None:
    """The next charge makes it whole again."""
    script = redis_cli.register_script(scripts.DECIDE.replace(lua.NOW, ON_THE_CLOCK))
    asked = ["default", 9, PERIOD, 1, CLIENT, "write", 9, PERIOD, 1, CLIENT]
    for second in range(3):
        script(keys=RECORDS, args=[*asked, START + second * SECOND])
    redis_cli.set("rate_limit:x", redis_cli.get("rate_limit:x")[:left])
    for _ in range(9):
        answer = script(keys=RECORDS, args=[*asked, START + 3 * SECOND])
        assert len(answer) == 8
    assert redis_cli.pttl("rate_limit:x") > 0
    assert script(keys=RECORDS, args=[*asked, START + 13 * SECOND])[:2] == [1, 1]


@pytest.mark.parametrize(
    "line",
    [
        "default 1000/5 in 10 s, 0000000 refused: ",
        "default 5/5 in 10 s, 1 refused: 1795460923000000:0000005 ",
        "default 5/5 in 10 s, 0000000 refused: 17954x0923000000:0000005 ",
        "default 5/5 in 10 s, 0000000 refused: 1795460923000000:0000005",
        "paid: 5e1f ",
    ],
)
def test_a_record_line_that_was_changed_by_hand_refuses_no_client(
    redis_cli: Any, line: str
) -> None:
    script = redis_cli.register_script(scripts.DECIDE.replace(lua.NOW, ON_THE_CLOCK))
    redis_cli.set("rate_limit:x", f"{line}\n")
    assert script(keys=RECORDS, args=["default", 5, PERIOD, 1, CLIENT, START])[:2] == [1, 1]


def test_a_clock_that_is_set_back_again_and_again_makes_no_more_entries(redis_cli: Any) -> None:
    script = redis_cli.register_script(scripts.DECIDE.replace(lua.NOW, ON_THE_CLOCK))
    for step in range(300):
        script(keys=RECORDS, args=["default", 500, PERIOD, 1, CLIENT, START - step * CELL])
    stored = redis_cli.get("rate_limit:x")
    assert records.used(stored) == {"default": "300/500"}
    assert len(stored) <= 4100
