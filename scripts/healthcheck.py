"""Exit 0 if the web server of this container answers; what Docker's health check runs."""

import os
import sys
import urllib.error
import urllib.request

hosts = (os.environ.get("ALLOWED_HOSTS") or "localhost").replace(",", " ").split()
request = urllib.request.Request(
    f"http://127.0.0.1:{os.environ.get('PORT') or '8000'}/api/v1/monitoring/health/live/",
    # Django answers only to the names it was told.
    headers={"Host": "localhost" if hosts[0] == "*" else hosts[0].lstrip(".")},
)
try:
    with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310
        sys.exit(answer.status != 200)
except (urllib.error.URLError, OSError) as error:
    sys.exit(f"The web server doesn't answer: {error}")
