"""The users of `locustfile.py`, measured: `make load-report` and `make load-search`.

`run` serves and loads the product without Redis and with it, and writes `bench/load.json`; `report`
turns that into the section `load` of `docs/performance.md`, and prints the same table. `browse`
loads it with people who look for something while it sells, and does both for the section
`load-search`. `driver` is what they have in common.
"""

from pathlib import Path

RESULT = Path(__file__).parent.parent / "load.json"
BROWSE_RESULT = RESULT.with_name("load-search.json")
DOCUMENT = RESULT.parents[1] / "docs" / "performance.md"
