"""PostgreSQL and Redis for a machine that has none, for `make run` and `make test`.

Servers of the machine come first (PostgreSQL >= 14, Redis or Valkey >= 7), then those of the
development wheels. The servers listen on private sockets only. They run as `nobody` if this process
is root, because PostgreSQL refuses root. They end with this process, however it ends.
"""


class EmbeddedError(RuntimeError):
    """A server cannot be found or started here. The message says what to do, in one line."""
