"""The cost of a request, beside others that do the same work: `make bench`, docs/performance.md.

contenders   the programs that are compared, and their servers
rungs        the requests, and their expected answers
stage        the servers of one configuration, and the cores that they run on
wrk          one window of load
measure      the rounds: every rung of every contender, in turn
servers      a comparison of servers: `make bench-servers`
redis_alone  the cost of cached reads for Redis: `make bench-redis`
figures      medians and ratios of what was measured
report       the tables and plots of docs/performance.md
"""


class BenchError(RuntimeError):
    """A figure cannot be had here, or would be wrong; the message says why, in one line."""
