"""The application for WSGI servers, and what `asgi.py` runs on its threads.

On a server of threads alone each event stream takes one of them for as long as it lasts.
"""

import os

from django.core.wsgi import get_wsgi_application

from autopilot import embedded, env

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "autopilot.settings")
if env.uses_embedded():
    embedded.ensure_running()

application = get_wsgi_application()
