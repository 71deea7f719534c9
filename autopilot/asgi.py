"""The application for ASGI servers: `uvicorn autopilot.asgi:application`."""

import os

from django.core.asgi import get_asgi_application

from autopilot import embedded, env

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "autopilot.settings")
if env.uses_embedded():
    embedded.ensure_running()

application = get_asgi_application()
