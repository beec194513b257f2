"""A second locustfile, beside the project's own: one line for each request of the load.

Locust's own percentiles are rounded, and are of the last ten seconds or of the whole test. The
lines go to the file named by LOAD_RECORD: end of the request (seconds since the epoch), duration
(ms), whether it failed, X-Cache, the method and name under which locust counts it, and its address.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from locust import events

if TYPE_CHECKING:
    from locust.contrib.fasthttp import FastResponse

record = Path(os.environ["LOAD_RECORD"]).open("w", encoding="utf-8")  # noqa: SIM115


@events.request.add_listener
def write_line(
    exception: Exception | None, response: FastResponse | None = None, **request: Any
) -> None:
    if not record.closed:
        headers = None if response is None else response.headers  # none where no answer came
        outcome = headers.get("X-Cache", "") if headers else ""
        milliseconds = request["response_time"]
        end = request["start_time"] + milliseconds / 1000
        call = f"{request['request_type']} {request['name']},{request.get('url', '')}"
        record.write(f"{end:.6f},{milliseconds:.3f},{exception is not None:d},{outcome},{call}\n")


@events.test_stopping.add_listener
def close(**_: object) -> None:
    """Leave out how the users tidy up, all at once: nobody shops like that."""
    record.close()
