"""gunicorn's worker process: uvicorn with `autopilot.asgi`."""

from __future__ import annotations

import logging
from typing import Any

from uvicorn_worker import UvicornWorker


class WebWorker(UvicornWorker):
    """As gunicorn's configuration says, and nothing else: no server's guesses about proxies.

    Whose address a request has is up to `AUTOPILOT_TRUSTED_PROXIES`; believed here as well, a
    header could name any.
    """

    CONFIG_KWARGS = {
        "loop": "uvloop",
        "http": "httptools",
        "lifespan": "on",
        "proxy_headers": False,
        "server_header": False,
    }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.config.timeout_graceful_shutdown = self.cfg.graceful_timeout
        self.config.access_log = bool(self.cfg.accesslog)
        for handler in logging.getLogger("uvicorn.access").handlers:
            handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
