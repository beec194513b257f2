"""The checker, on the service and on what the service is not."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest
from checker import WITHOUT_SALES, Report, check
from finding import KINDS, TURN
from stage import FAULTS, FAULTS_OF_REDIS, KEY, PLAIN, Stage, stage

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

pytestmark = pytest.mark.slow

SECONDS = 3
LISTS_SECONDS = 2 * len(KINDS) * TURN  # in which each kind has its turn twice
ROUNDS = 12  # at most, until the positive control has found what it must find


@pytest.fixture(scope="module", params=[True, False], ids=["with the edge", "without it"])
def shop(request: pytest.FixtureRequest) -> Iterator[Stage]:
    with stage(edge=request.param) as here:
        yield here


def stale_reads_of(application: str, works: Collection[str]) -> Report:
    """Check until something is stale, and fail if nothing is."""
    found = Report()
    with stage(application) as here:
        for _ in range(ROUNDS):
            here.empty()
            found.add(check(here.url, KEY, SECONDS, works=works))
            if found.stale:
                return found
    pytest.fail(f"not one in {found}")


def test_the_checker_finds_stale_reads_of_plain_memoize() -> None:
    """A checker that finds nothing there would prove nothing."""
    stale_reads_of(PLAIN, WITHOUT_SALES)


def test_the_checker_finds_stale_lists_of_plain_memoize() -> None:
    """The lists are filtered, sorted, searched and counted."""
    assert stale_reads_of(PLAIN, {"rove"}).of_rovers


def test_without_faults_no_read_is_stale_or_goes_back(shop: Stage) -> None:
    shop.empty()
    report = check(shop.url, KEY, SECONDS)
    assert report.racing > 0 < report.sales
    assert report.stale == []
    # On a busy machine Redis itself may be late: then some reads have bypassed the cache.
    assert report.back == [] or "BYPASS" in report.outcomes
    assert set(report.statuses) <= {200, 201, 204, 304, 404}
    assert {"HIT", "MISS"} <= set(report.outcomes)


def test_no_list_is_stale_while_products_change(shop: Stage) -> None:
    shop.empty()
    report = check(shop.url, KEY, LISTS_SECONDS, works={"rove", "sell"})
    assert report.racing > 0 < report.sales
    assert report.stale == []
    assert "HIT" in report.outcomes


def test_no_read_is_stale_or_fails_while_redis_has_faults(shop: Stage) -> None:
    shop.empty()
    faults = (partial(fault, shop) for fault in FAULTS_OF_REDIS.values())
    report = check(shop.url, KEY, SECONDS, faults)
    assert report.racing > 0 < report.sales
    assert report.stale == []
    assert set(report.statuses) <= {200, 201, 204, 304, 404}


def test_no_read_is_stale_while_workers_and_postgresql_have_faults(shop: Stage) -> None:
    shop.empty()
    others = [fault for name, fault in FAULTS.items() if name not in FAULTS_OF_REDIS]
    report = check(shop.url, KEY, SECONDS, (partial(fault, shop) for fault in others * 2))
    assert report.racing > 0 < report.sales
    assert report.stale == []
    assert set(report.statuses) <= {0, 200, 201, 204, 304, 404, 409, 503}
