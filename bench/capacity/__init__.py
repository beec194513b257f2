"""The servers that a shop of a size needs: `make capacity`, docs/capacity.md.

costs       what was measured, from bench/capacity.json and bench/results.json
popularity  a Zipf distribution: how often each of many things is asked for
hits        the hit rate of a cache with times to live and a bound: by formula, and by simulation
queueing    response times of one worker, by simulation
model       from products and requests a second to workers, memory, shards and connections
ends        the load from which another machine does not help
latency     the kinds of requests as the simulation of a worker takes them
report      the tables of docs/capacity.md; those with what was measured are `measurements`

What `make bench-capacity` measures, each a part of bench/capacity.json:

ground      a service over a catalogue, and the CPU time of each of its processes
requests    CPU time and bytes of each kind of request
entries     bytes of Redis for each kind of entry
tables      bytes of PostgreSQL for each row
idle        what a worker costs that nobody asks: memory, connections, looks at the outbox
tracking    what it costs Redis to tell its clients each change
busy        what a call costs a Redis that has much to do
hot         what a sale costs the leaderboard
shards      what a read costs each master of a Redis Cluster
validation  the simulations beside a real Redis and a real worker
"""

from pathlib import Path

RESULT = Path(__file__).parent.parent / "capacity.json"
