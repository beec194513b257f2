"""How gunicorn serves the WSGI contenders: in threads, with as many workers as the product has.

Nothing of the product is imported: it would prepare their connections to PostgreSQL, too.
"""

import os

workers = int(os.environ["WEB_CONCURRENCY"])
worker_class, threads = "gthread", 4
control_socket_disable = True
