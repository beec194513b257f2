"""Reduce what an exporter answers to a list of its series, for exporters.prom.

    python tests/monitoring/exporters.py http://127.0.0.1:9387/metrics ... > exporters.prom

Beside `make monitor` and a `make run` whose PostgreSQL and Redis have replicas, with the exporters
of this machine.
"""

from __future__ import annotations

import re
import sys

import requests

KEPT = re.compile(r"(redis|pg|postgresql|probe)_(?!settings_)")
VALUES = re.compile(r'(server|statement|hashsum|fingerprint_sha256)="[^"]*"')
LEFT_OUT = re.compile(r'datname="(?!shop")')  # series of other databases have the same labels


def main() -> None:
    for url in sys.argv[1:]:
        seen: set[tuple[str, ...]] = set()
        for line in requests.get(url, timeout=30).text.splitlines():
            if not KEPT.match(line) or LEFT_OUT.search(line):
                continue
            series, _, _ = line.rpartition(" ")
            name, _, labels = series.partition("{")
            form = (name, *re.findall(r"(\w+)=\"", labels))
            if form not in seen or "state=" in labels or "mode=" in labels:
                seen.add(form)
                shown = re.sub(
                    r'(server|statement|hashsum|fingerprint_sha256)="[^"]*"', r'\1="..."', series
                )
                sys.stdout.write(f"{shown} 0\n")


if __name__ == "__main__":
    main()
