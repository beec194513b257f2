"""The ends of the design: the load from which another machine does not help."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .model import PRIMARY_CORES, Demand, plan

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .costs import Costs
    from .model import Plan

MOST = 1e6  # requests a second that are looked at
STEPS = 8  # of a bisection, to within a twentieth
LOOKS = 10  # a second, of each worker (`CHECK_PAUSE_SECONDS`)


class Rates(NamedTuple):
    """Requests a second at which each is as busy as it may be."""

    one_redis: float
    cluster: float
    primary: float


def rates(products: int, costs: Costs) -> Rates:
    """Return the largest rates that a catalogue can have."""

    def largest(holds: Callable[[Plan], bool]) -> float:
        low, high = 1.0, MOST
        for _ in range(STEPS):
            middle = (low * high) ** 0.5
            if holds(plan(Demand(products, middle), costs)):
                low = middle
            else:
                high = middle
        return low

    return Rates(
        largest(lambda found: found.masters == 1),
        largest(lambda found: found.masters > 0),
        largest(lambda found: found.postgresql_cores <= PRIMARY_CORES),
    )


def cores_of_looks(workers: int, look: Mapping[str, float]) -> float:
    """Return the cores of PostgreSQL that so many workers keep busy while nobody asks."""
    return workers * LOOKS * look["postgresql"] * 1e-6
