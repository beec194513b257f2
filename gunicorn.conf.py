"""How gunicorn serves the application; `gunicorn wsgi:app` reads it by itself."""

import os
import shutil
import tempfile
from typing import Any

# The workers' shared counts, before anything imports prometheus_client.
metrics_directory = tempfile.mkdtemp(prefix="shop-metrics-")
os.environ["PROMETHEUS_MULTIPROC_DIR"] = metrics_directory

from prometheus_client import multiprocess  # noqa: E402

from shop.config import SettingError, Settings  # noqa: E402
from shop.logs import logging_config  # noqa: E402

try:
    settings = Settings.from_environment(os.environ)
except SettingError as error:
    shutil.rmtree(metrics_directory)
    raise SystemExit(f"shop cannot start: {error}") from None

bind = f"0.0.0.0:{settings.port}"  # --bind says otherwise
workers = settings.web_concurrency
worker_class = "gthread"
threads = 4
timeout = 30  # seconds without a sign of life, then a worker is replaced
graceful_timeout = 30  # seconds for the requests under way at SIGTERM
keepalive = 5  # seconds
control_socket_disable = True
logconfig_dict = logging_config(settings.log_level)


def child_exit(_server: Any, worker: Any) -> None:
    multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]


def on_exit(_server: Any) -> None:
    shutil.rmtree(metrics_directory, ignore_errors=True)
