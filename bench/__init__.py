"""What a request costs, beside others that do the same work: `make bench`, docs/performance.md.

contenders   who takes part, and how each is served
rungs        what is asked of them
stage        the servers of one configuration, and the cores that they run on
wrk          one window of load
measure      the rounds: every rung of every contender, in turn
servers      another question: which server serves best
redis_alone  and another: what cached reads cost Redis
figures      medians and ratios of what was measured
report       the tables and plots of docs/performance.md
"""


class BenchError(RuntimeError):
    """A figure cannot be had here, or would be wrong; the message says why, in one line."""
