"""The application for ASGI servers: what web processes run; see `serving.py`.

Requests run on threads that stay, with Django's WSGI application; event streams in the loop.
"""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "autopilot.settings")

from django.conf import settings

from autopilot.common.threads import OnThreads
from autopilot.wsgi import application as _wsgi

application = OnThreads(
    _wsgi,
    threads=settings.AUTOPILOT_WEB_THREADS,
    max_body=settings.DATA_UPLOAD_MAX_MEMORY_SIZE,
)
