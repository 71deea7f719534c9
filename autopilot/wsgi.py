"""The application for WSGI servers: `gunicorn autopilot.wsgi`."""

import os

from django.core.wsgi import get_wsgi_application

from autopilot import embedded, env

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "autopilot.settings")
if env.uses_embedded():
    embedded.ensure_running()

application = get_wsgi_application()
