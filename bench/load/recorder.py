"""A second locustfile, beside the project's own: one line for each request of the load.

Locust's own percentiles are rounded, and are of the last ten seconds or of the whole test. The
lines go to the file named by LOAD_RECORD: end of the request (seconds since the epoch), duration
(ms), whether it failed, X-Cache.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from locust import events

if TYPE_CHECKING:
    from locust.contrib.fasthttp import FastResponse

record = Path(os.environ["LOAD_RECORD"]).open("w", encoding="utf-8")  # noqa: SIM115


@events.request.add_listener
def write_line(
    start_time: float,
    response_time: float,
    exception: Exception | None,
    response: FastResponse | None = None,
    **_: object,
) -> None:
    if not record.closed:
        headers = None if response is None else response.headers  # none where no answer came
        outcome = headers.get("X-Cache", "") if headers else ""
        end = start_time + response_time / 1000
        record.write(f"{end:.6f},{response_time:.3f},{exception is not None:d},{outcome}\n")


@events.test_stopping.add_listener
def close(**_: object) -> None:
    """Leave out how the users tidy up, all at once: nobody shops like that."""
    record.close()
