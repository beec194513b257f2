"""`make load-report`: the Shoppers of `locustfile.py`, without Redis and with it, measured.

`run` serves and loads the product twice, and writes `bench/load.json`; `report` turns that into
the section `load` of `docs/performance.md`, and prints the same table.
"""

from pathlib import Path

RESULT = Path(__file__).parent.parent / "load.json"
