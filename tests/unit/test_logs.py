from __future__ import annotations

import json
import logging
import logging.config
from typing import Any

import pytest
import structlog
from django.core.exceptions import ImproperlyConfigured

from autopilot.common.logs import logging_config


def formatted(record: logging.LogRecord, *, debug: bool) -> str:
    made: dict[str, Any] = logging_config(debug=debug, level="INFO")["formatters"]["events"]
    options = {key: value for key, value in made.items() if key != "()"}
    return str(made["()"](**options).format(record))


def record(name: str = "a.library", **extra: object) -> logging.LogRecord:
    return logging.makeLogRecord(
        {"name": name, "levelno": 30, "levelname": "WARNING", "msg": "it is %s", "args": ("late",)}
        | extra
    )


def test_production_writes_one_json_object_a_line() -> None:
    line = formatted(record(execution_id=7, text="two\nlines ü"), debug=False)
    assert "\n" not in line
    fields = json.loads(line)
    assert fields.pop("at").endswith("Z")
    assert fields == {
        "event": "it is late",
        "level": "warning",
        "logger": "a.library",
        "execution_id": 7,
        "text": "two\nlines ü",
    }


def test_development_writes_key_value() -> None:
    line = formatted(record(execution_id=7), debug=True)
    assert line.split(" ", 1)[1] == (
        'level=warning event="it is late" logger=a.library execution_id=7'
    )


def test_a_trace_is_below_the_line_in_development_and_inside_it_in_production() -> None:
    try:
        raise ValueError("wrong")
    except ValueError as error:
        failed = record(exc_info=(ValueError, error, error.__traceback__))
    assert formatted(failed, debug=True).splitlines()[1] == "Traceback (most recent call last):"
    assert "ValueError: wrong" in json.loads(formatted(failed, debug=False))["exception"]


def test_secrets_do_not_reach_the_log() -> None:
    fields = json.loads(
        formatted(
            record(
                password="p",
                refresh_token="t",
                headers={"Authorization": "Bearer x", "Accept": "y"},
                user_name="vera",
            ),
            debug=False,
        )
    )
    assert fields["password"] == fields["refresh_token"] == "[redacted]"
    assert fields["headers"] == {"Authorization": "[redacted]", "Accept": "y"}
    assert fields["user_name"] == "vera"


def test_events_carry_the_fields_bound_to_the_request(caplog: pytest.LogCaptureFixture) -> None:
    logging_config(debug=False, level="INFO")
    with structlog.contextvars.bound_contextvars(request_id="request-1"):
        structlog.get_logger("ours").warning("execution.started", execution_id=7)
    line = json.loads(formatted(caplog.records[-1], debug=False))
    assert (line["event"], line["request_id"], line["execution_id"], line["logger"]) == (
        "execution.started",
        "request-1",
        7,
        "ours",
    )


def test_an_unknown_level_is_told_with_its_variable() -> None:
    with pytest.raises(ImproperlyConfigured, match=r"LOG_LEVEL must be one of DEBUG, .*'LOUD'"):
        logging_config(debug=False, level="LOUD")


@pytest.mark.parametrize("name", ["httpx", "httpcore"])
def test_libraries_that_log_urls_and_headers_stay_quiet_at_every_level(name: str) -> None:
    config = logging_config(debug=True, level="DEBUG")
    assert config["loggers"][name] == {"level": "WARNING"}
