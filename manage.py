#!/usr/bin/env python
"""Django's command line, with the embedded servers started where a command may need them."""

from __future__ import annotations

import os
import sys

# These only read code; they answer without servers.
WITHOUT_SERVERS = {
    *("-h", "--help", "--version", "help", "version"),
    *("check", "diffsettings", "findstatic", "collectstatic", "spectacular"),
    *("makemessages", "compilemessages", "startapp", "startproject"),
}


def needs_servers(arguments: list[str]) -> bool:
    """Whether the command may talk to PostgreSQL or Redis."""
    if not arguments or arguments[0] in WITHOUT_SERVERS:
        return any(word.startswith("--database") for word in arguments)
    return not {"-h", "--help"} & set(arguments)


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "autopilot.settings")
    try:
        from django.core.exceptions import ImproperlyConfigured
        from django.core.management import execute_from_command_line
    except ImportError:
        sys.exit(
            "Django isn't installed for this Python: run scripts/setup.sh, "
            "then .venv/bin/python manage.py."
        )
    from autopilot import embedded

    try:
        from autopilot import env

        if needs_servers(sys.argv[1:]) and env.uses_embedded():
            embedded.ensure_running()
        execute_from_command_line(sys.argv)
    except (embedded.EmbeddedError, ImproperlyConfigured) as error:
        if "--traceback" in sys.argv:
            raise
        sys.exit(str(error))


if __name__ == "__main__":
    main()
