"""The configuration of gunicorn for WSGI contenders: threads, and the product's number of workers.

It imports nothing of the product, which would prepare their connections to PostgreSQL, too.
"""

import os

workers = int(os.environ["WEB_CONCURRENCY"])
worker_class, threads = "gthread", 4
control_socket_disable = True
