"""How gunicorn serves the application; `gunicorn wsgi:app` reads it by itself."""

import atexit
import gc
import os
import re
import resource
import shutil
import socket
import tempfile
from typing import Any

# The workers' shared counts, before anything imports prometheus_client.
# SIGHUP reads this file again, in the same process: it finds the directory that there is.
if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
    directory = os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(prefix="shop-metrics-")
    master = os.getpid()
    atexit.register(lambda: shutil.rmtree(directory) if os.getpid() == master else None)

from gunicorn.glogging import Logger

from shop import exemplars, read_settings, worker_states
from shop.console import reporter
from shop.environment import SettingError
from shop.extensions import cache
from shop.features import features
from shop.logs import dropped_line, logging_config
from shop.output import write_in_background
from shop.shared_counts import merge_counts
from shop.worker_states import WorkerState

try:
    settings = read_settings(os.environ)
except SettingError as error:
    raise SystemExit(f"shop cannot start: {error}") from None

write_in_background(dropped_line)  # the master neither: it restarts workers

bind = f"0.0.0.0:{settings.port}"  # --bind says otherwise
workers = settings.web_concurrency
worker_class = "shop.edge.worker.Worker"
timeout = 30  # seconds without a sign of life, then a worker is replaced
graceful_timeout = 30 + settings.drain_seconds  # for the requests under way at SIGTERM
keepalive = 75  # seconds: longer than balancers keep a connection that nobody uses
control_socket_disable = True
# No header of a request says by which scheme, address or path it came; the service itself reads
# X-Forwarded-For, to the depth of TRUSTED_PROXIES.
forwarded_allow_ips = ""
secure_scheme_headers: dict[str, str] = {}
forwarder_headers = ""  # or a client on this machine sets SCRIPT_NAME
logconfig_dict = logging_config(settings.log_level)


class ErrorLogger(Logger):  # type: ignore[misc]
    """Logs what gunicorn does; each request is logged by the application."""

    access_log_enabled = False  # else gunicorn makes a line of each, for nobody

    def warning(self, msg: str, *args: Any, **options: Any) -> None:
        """Of a request that cannot be read, tell how it is wrong, and quote nothing of it."""
        if msg.startswith("Invalid request from"):
            msg = re.split("['\"]", msg, maxsplit=1)[0]
        super().warning(msg, *args, **options)

    def exception(self, msg: str, *args: Any, **options: Any) -> None:
        """Tell the path of a request without its query, as the access log does."""
        paths = [str(one).partition("?")[0] for one in args]
        super().exception(msg, *paths, **options)


logger_class = ErrorLogger


def on_starting(server: Any) -> None:
    # Import before the fork what every worker needs, and exempt it from each worker's collections:
    # a worker starts with half the CPU, and shares this memory.
    features()
    gc.collect()
    gc.freeze()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)  # each connection is a file
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    for remark in settings.remarks():
        server.log.info(remark)


def pre_fork(_server: Any, worker: Any) -> None:
    worker_states.note(worker.age, WorkerState.STARTING)


def post_worker_init(worker: Any) -> None:
    cache.start_watcher(worker.wsgi)
    reporter.start(worker.wsgi, _host(worker))
    atexit.register(exemplars.share)
    # What the application is made of stays until the end. To look through it for garbage takes
    # some 50 ms, which each request waits for that is answered meanwhile.
    gc.collect()
    gc.freeze()


def _host(worker: Any) -> str:
    """Return the name of this gunicorn: that of its machine or container, and its port."""
    match worker.sockets[0].getsockname():
        case (_, port, *_):
            return f"{socket.gethostname()}:{port}"
        case path:
            return f"{socket.gethostname()}:{path}"


def child_exit(_server: Any, worker: Any) -> None:
    worker_states.note(worker.age, WorkerState.GONE)
    merge_counts(worker.pid)
