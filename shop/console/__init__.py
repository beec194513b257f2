"""The console of operators: how the whole service is, from `GET /ops/status`, and what they may do.

Each gunicorn makes a report of its workers every few seconds (`reporter.py`), and puts it into
Redis; whichever host is asked answers with the reports of all (`service.py`).
"""
