"""How gunicorn serves pages, API and streams.

gunicorn --config scripts/gunicorn.conf.py autopilot.asgi:application

Each process has one loop, which holds the connections and the streams, and WEB_THREADS threads
that stay for the requests and keep their database connections; see CONN_MAX_AGE. HOST, PORT,
WEB_WORKERS and WEB_THREADS come from the environment.
"""

import os

bind = f"{os.environ.get('HOST') or '127.0.0.1'}:{os.environ.get('PORT') or '8000'}"
workers = int(os.environ.get("WEB_WORKERS") or 2)
worker_class = "autopilot.serving.WebWorker"
# Seconds: for a worker to give a sign of life, for requests under way at a stop, between requests
# of a browser.
timeout = 60
graceful_timeout = 20
keepalive = 5
# A file whose time the workers touch; on a disk that is busy they would look dead.
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108
# Its default path is one for the whole account: two checkouts would share it.
control_socket_disable = True
accesslog = os.environ.get("ACCESS_LOG") or None
errorlog = "-"
loglevel = "warning"
