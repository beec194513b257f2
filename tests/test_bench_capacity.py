"""The model of capacity, its simulations, and docs/capacity.md."""

from __future__ import annotations

import random
import subprocess
import sys
from itertools import pairwise
from math import inf, log

import pytest

from bench.capacity import report
from bench.capacity.__main__ import DOCUMENT, SECTION
from bench.capacity.costs import Costs
from bench.capacity.hits import JITTER, Cache, expected, simulated
from bench.capacity.model import FORMULAS, Demand, plan
from bench.capacity.popularity import Zipf
from bench.capacity.queueing import Kind, simulate
from bench.contenders import ROOT

RATE, TTL = 1000, 10.0
EXPONENTIAL = [-log(1 - (2 * n + 1) / 400) for n in range(200)]  # its quantiles


@pytest.fixture(scope="module")
def costs() -> Costs:
    return Costs.load()


def requests(
    popularity: Zipf, seconds: float, writes: float = 0.0
) -> list[tuple[float, int, float, bool]]:
    chance, now, made = random.Random(3), 0.0, []
    while now < seconds:
        now += chance.expovariate(RATE)
        ttl = TTL * (1 - JITTER * chance.random())
        made.append((now, popularity.draw(chance), ttl, chance.random() < writes))
    return made


@pytest.mark.parametrize("exponent", [0.8, 1.0])
@pytest.mark.parametrize("capacity", [inf, 4000, 500])
@pytest.mark.parametrize("writes", [0.0, 0.1])
def test_the_formula_of_hits_agrees_with_the_simulation(
    exponent: float, capacity: float, writes: float
) -> None:
    popularity = Zipf(20_000, exponent)
    played = simulated(Cache(capacity), requests(popularity, 60, writes), 2 * TTL)
    computed = expected(
        popularity, RATE * (1 - writes), TTL, writes=RATE * writes, capacity=capacity
    )
    assert computed.hit_rate == pytest.approx(played, abs=0.012)
    assert computed.entries <= capacity * 1.001


def test_the_formula_agrees_with_one_thing_that_never_expires_but_is_forgotten() -> None:
    # Between two times that it is forgotten it is asked for at random: 1 - 1 / (1 + 10) hits.
    assert expected(Zipf(1), 10, 1e9, forgets=1).hit_rate == pytest.approx(10 / 11)


def test_the_shares_of_all_things_are_one_in_all() -> None:
    for things in (1, 999, 1000, 12_345, 10**8):
        groups = list(Zipf(things, 0.9).groups())
        assert sum(count for count, _ in groups) == things
        assert sum(count * chance for count, chance in groups) == pytest.approx(1)


def test_the_groups_of_a_popularity_are_as_exact_as_single_things() -> None:
    things = 50_000
    total = sum(1 / n for n in range(1, things + 1))
    first = sum(1 / n for n in range(1, 2001)) / total
    assert Zipf(things).share(2000) == pytest.approx(first, rel=1e-3)


@pytest.mark.parametrize("busy", [0.5, 0.8])
def test_one_queue_with_one_core_is_that_of_the_textbook(busy: float) -> None:
    """M/M/1: response times are exponential, with the mean of service / (1 - busy)."""
    kind = Kind(1, 0.001, (), EXPONENTIAL)
    times = simulate([kind], busy, 60_000)
    mean = 0.001 / (1 - busy)
    assert times.busy == pytest.approx(busy, rel=0.05)
    assert times.p50 == pytest.approx(mean * log(2), rel=0.15)
    assert times.p95 == pytest.approx(mean * log(20), rel=0.15)


def test_a_wait_for_a_server_leaves_the_core_to_others() -> None:
    kind = Kind(1, 0.001, (0.1,))
    times = simulate([kind], 0.5, 20_000)
    assert times.busy == pytest.approx(0.5, rel=0.05)
    assert times.p50 == pytest.approx(0.1 * log(2), rel=0.2)


def test_requests_queue_for_the_threads_of_a_worker() -> None:
    # 4 threads that wait for 0.1 s each serve 40 requests a second.
    held = Kind(1, 0.001, (0.1,), is_threaded=True)
    free = held._replace(is_threaded=False)
    assert simulate([held], 0.038, 4000).p95 > 2 * simulate([free], 0.038, 4000).p95


def test_a_simulation_is_the_same_each_time() -> None:
    kind = Kind(1, 0.001, (0.001,), EXPONENTIAL)
    assert simulate([kind], 0.7, 2000) == simulate([kind], 0.7, 2000)


def test_more_requests_need_no_less(costs: Costs) -> None:
    plans = [plan(Demand(1_000_000, rate), costs) for rate in (100, 1_000, 10_000)]
    for few, many in pairwise(plans):
        assert few.workers < many.workers
        assert few.redis_bytes < many.redis_bytes
        assert few.postgresql_cores < many.postgresql_cores
        assert few.hit_rate < many.hit_rate


def test_more_products_have_fewer_hits_and_larger_tables(costs: Costs) -> None:
    few, many = (plan(Demand(products, 1000), costs) for products in (10**6, 10**8))
    assert many.hit_rate < few.hit_rate
    assert many.postgresql_bytes == pytest.approx(100 * few.postgresql_bytes)


def test_the_workers_of_a_plan_are_no_more_busy_than_was_asked(costs: Costs) -> None:
    demand = Demand(1_000_000, 3000)
    found = plan(demand, costs)
    assert found.masters == 1
    rest = costs.at_rest["worker"] + found.changes * costs.change[1]
    busy = demand.rate * found.cpu.worker / found.workers + rest
    with_one_less = demand.rate * found.cpu.worker / (found.workers - 1) + rest
    assert busy <= demand.utilisation < with_one_less


def test_a_small_memory_costs_hits(costs: Costs) -> None:
    all_of_it, a_part = (
        plan(Demand(10**7, 10_000, memory=memory), costs) for memory in (inf, 50e6)
    )
    assert a_part.hit_rates["item"].hit_rate < all_of_it.hit_rates["item"].hit_rate
    assert a_part.redis_bytes < all_of_it.redis_bytes


def test_the_document_has_what_the_model_says(costs: Costs) -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    written = text.partition(f"<!-- {SECTION}:begin -->")[2].partition(f"<!-- {SECTION}:end -->")[0]
    assert written.strip() == report.section(costs), "make capacity writes it anew"


def capacity(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bench.capacity", *arguments]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )


def test_the_command_tells_each_figure_and_how_it_is_computed() -> None:
    said = capacity("--products", "5e6", "--rate", "2000").stdout
    assert said.startswith("5,000,000 products, 2,000 requests a second")
    assert "\nworkers: " in said
    assert "CPU seconds of a request" in said


@pytest.mark.parametrize("arguments", [["--rate", "many"], ["--products", "0"], ["--cores", "0"]])
def test_the_command_refuses_numbers_out_of_their_range(arguments: list[str]) -> None:
    refused = capacity(*arguments)
    assert refused.returncode == 2
    assert arguments[0] in refused.stderr


def test_the_command_refuses_an_option_that_the_tables_would_ignore() -> None:
    refused = capacity("--ttl", "600")
    assert refused.returncode == 2
    assert "--products or --rate" in refused.stderr


def test_a_busier_worker_uses_less_for_a_request(costs: Costs) -> None:
    assert costs.spread(0.3) > costs.spread(0.6) > costs.spread(0.9)


def test_a_plan_tells_where_the_design_ends(costs: Costs) -> None:
    assert plan(Demand(1_000_000, 1000), costs).ends == ()
    [*_, told] = plan(Demand(1_000_000, 1e6), costs).ends
    assert "primary" in told
    assert plan(Demand(1_000_000, 1e6), costs).masters == 0


def test_each_figure_of_a_plan_has_its_formula(costs: Costs) -> None:
    demand = Demand(1_000_000, 1000)
    told = report.one(demand, plan(demand, costs))
    for name, formula in FORMULAS.items():
        assert f"\n{name}: " in told
        assert formula in told
