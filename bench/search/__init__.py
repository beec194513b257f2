"""The cost of finding products among a million: `make bench-search`, docs/performance.md.

catalogue    the products, in a database that is kept between runs
draw         random parameters of questions
questions    the questions, and the figures to reach
ground       the servers, and the client that asks them
run          all of it; cold: answers of which nothing is cached
far          page 5,000 against page 1
hits         cached answers, against those of plain pages
figures      percentiles and ratios of what was measured
report       the tables of docs/performance.md
"""

from bench.contenders import ROOT

RESULT = ROOT / "bench" / "search.json"
DOCUMENT = ROOT / "docs" / "performance.md"
