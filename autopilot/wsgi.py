"""The application for WSGI servers, and what `asgi.py` runs on its threads.

On a server of threads alone each event stream takes one of them for as long as it lasts.
"""

import os

from django.core.wsgi import get_wsgi_application
from django.urls import get_resolver

from autopilot import embedded, env
from autopilot.common.memory import keep_what_is_loaded

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "autopilot.settings")
if env.uses_embedded():
    embedded.ensure_running()

application = get_wsgi_application()
# All pages are imported before the first request comes, which would have to wait for that.
get_resolver().url_patterns  # noqa: B018 - looked up for what that imports
keep_what_is_loaded()
