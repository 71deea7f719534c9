"""Logs as dotted events with fields: JSON lines in production, `key=value` while developing.

Lines of other libraries (Django, RQ, uvicorn) go through the same formatter, so one reader
understands everything the process writes.
"""

from __future__ import annotations

import re
from typing import Any

import structlog
from django.core.exceptions import ImproperlyConfigured
from structlog.typing import EventDict, Processor, WrappedLogger

# Names of fields whose values never reach a log, whoever logged them.
_SECRET = re.compile(
    r"(?i)(^|_)(password|passwd|secret|token|authorization|api_?key|cookie|access|refresh)(_|$)"
)
REDACTED = "[redacted]"
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


def redact(logger: WrappedLogger, name: str, event: EventDict) -> EventDict:
    """Replace the values of fields that are named like secrets, at any depth."""
    return {key: _redacted(key, value) for key, value in event.items()}


def _redacted(key: object, value: Any) -> Any:
    if isinstance(key, str) and _SECRET.search(key) and value not in (None, ""):
        return REDACTED
    if isinstance(value, dict):
        return {inner: _redacted(inner, item) for inner, item in value.items()}
    return value


def _plain(logger: WrappedLogger, name: str, event: EventDict) -> EventDict:
    """Leave out the request object (or socket) that Django attaches to its log records."""
    event.pop("request", None)
    return event


def _shared() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        redact,
    ]


def configure() -> None:
    """Send structlog's events to the standard library's loggers. Safe to call again."""
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            *_shared(),
            structlog.processors.StackInfoRenderer(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def logging_config(*, debug: bool, level: str) -> dict[str, Any]:
    """The value for Django's LOGGING. level: one of LEVELS, for everything.

    Raises ImproperlyConfigured for another level.
    """
    if level not in LEVELS:
        raise ImproperlyConfigured(f"LOG_LEVEL must be one of {', '.join(LEVELS)}, not {level!r}.")
    configure()
    renderer: Processor = (
        _readable if debug else structlog.processors.JSONRenderer(ensure_ascii=True, default=str)
    )
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "events": {
                "()": structlog.stdlib.ProcessorFormatter,
                "foreign_pre_chain": [*_shared(), structlog.stdlib.ExtraAdder(), _plain, redact],
                "processors": [
                    structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                    structlog.processors.format_exc_info,
                    renderer,
                ],
            }
        },
        "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "events"}},
        "root": {"handlers": ["console"], "level": level},
        "loggers": {
            # Django brings a handler of its own for the development server; ours is enough.
            "django": {"handlers": [], "level": level, "propagate": True},
            "django.server": {"handlers": [], "level": level, "propagate": True},
            # Every query at DEBUG would bury everything else.
            "django.db.backends": {"level": "INFO"},
            "asyncio": {"level": "INFO"},
            # They write whole URLs and headers, with the keys and tokens in them.
            "httpx": {"level": "WARNING"},
            "httpcore": {"level": "WARNING"},
        },
    }


_logfmt = structlog.processors.LogfmtRenderer(
    key_order=["at", "level", "event"], drop_missing=True, bool_as_flag=False
)


def _readable(logger: WrappedLogger, name: str, event: EventDict) -> str:
    """`key=value`, with a trace below the line instead of squeezed into it."""
    trace = event.pop("exception", None)
    # logfmt has no way to write a key with a space or a quote in it.
    plain = {re.sub(r'[\s="]', "_", str(key)): value for key, value in event.items()}
    line = str(_logfmt(logger, name, plain))
    return f"{line}\n{trace}" if trace else line
