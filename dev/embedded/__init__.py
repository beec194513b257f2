"""PostgreSQL and Redis for a machine that has none, for `make run` and `make test`.

Servers found on the machine come first (PostgreSQL >= 14, Redis or Valkey >= 7), then those in
the development wheels. They listen on private sockets only, run as `nobody` where this process
is root (PostgreSQL refuses root), and end with this process, however it ends.
"""


class EmbeddedError(RuntimeError):
    """A server cannot be had or started here; the message says what to do, in one line."""
