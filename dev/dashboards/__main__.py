"""`make dashboards`: write the dashboards into deploy/monitoring/grafana/dashboards/."""

from __future__ import annotations

import json

from shop.config import ROOT

from .cache import CACHE
from .limits import LIMITS
from .postgresql import POSTGRESQL
from .service import SERVICE
from .shop import SHOP

DIRECTORY = ROOT / "deploy" / "monitoring" / "grafana" / "dashboards"
DASHBOARDS = {
    f"{one.uid.removeprefix('shop-')}.json": one
    for one in (SERVICE, CACHE, LIMITS, SHOP, POSTGRESQL)
}


def main() -> None:
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    for name, dashboard in DASHBOARDS.items():
        (DIRECTORY / name).write_text(json.dumps(dashboard.json(), indent=1) + "\n")


if __name__ == "__main__":
    main()
