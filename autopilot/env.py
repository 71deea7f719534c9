"""Reading the environment: every setting a deployment may change comes through here.

A bad value ends the start with one sentence that names the variable; secrets are never quoted.
Lines of a `.env` file at the project's root (or of the file that AUTOPILOT_ENV_FILE names) count
where the environment itself says nothing.
"""

from __future__ import annotations

import binascii
import math
import os
import re
import secrets
import sys
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

from autopilot import embedded

BASE_DIR = Path(__file__).resolve().parent.parent

TRUE = frozenset({"1", "true", "yes", "on"})
FALSE = frozenset({"0", "false", "no", "off"})

CONNECTION_SECONDS = 60
"""How long a request's database connection is kept for the next one."""

CONNECT_TIMEOUT_SECONDS = 5

# libpq's own names, for the part of DATABASE_URL after the question mark.
LIBPQ_OPTIONS = {
    *("application_name", "channel_binding", "client_encoding", "connect_timeout", "options"),
    *("gssencmode", "keepalives", "keepalives_count", "keepalives_idle", "keepalives_interval"),
    *("sslcert", "sslcrl", "sslkey", "sslmode", "sslnegotiation", "sslpassword", "sslrootcert"),
    *("target_session_attrs", "tcp_user_timeout"),
}

_LINE = re.compile(r"^\s*(?:export\s+)?(?P<name>[A-Za-z_]\w*)\s*=\s*(?P<value>.*?)\s*$")


def load_file(path: Path) -> None:
    """Take the NAME=value lines of `path` into the environment; what is set already stays.

    A missing file is no error. Quotes around a value are taken off, `#` starts a comment line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return
    except (OSError, UnicodeDecodeError) as error:
        raise ImproperlyConfigured(f"The file {path} can't be read as text: {error}.") from None
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.match(line)
        if match is None:
            raise ImproperlyConfigured(f"{path}, line {number}: expected NAME=value.")
        value = match["value"]
        if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
            value = value[1:-1]
        os.environ.setdefault(match["name"], value)


def text(name: str, default: str = "") -> str:
    """The variable without spaces around it; empty counts as not set."""
    return os.environ.get(name, "").strip() or default


def boolean(name: str, default: bool) -> bool:
    """1/true/yes/on or 0/false/no/off, in any case."""
    value = text(name).lower()
    if not value:
        return default
    if value in TRUE:
        return True
    if value in FALSE:
        return False
    raise ImproperlyConfigured(f"{name} must be true or false, not {value!r}.")


def one_of(name: str, choices: list[str], default: str) -> str:
    """One of a few words, in any case."""
    value = text(name, default).lower()
    if value not in choices:
        raise ImproperlyConfigured(f"{name} must be one of {', '.join(choices)}, not {value!r}.")
    return value


def words(name: str, default: list[str]) -> list[str]:
    """Words separated by commas or spaces."""
    value = text(name)
    return value.replace(",", " ").split() if value else list(default)


def integer(name: str, default: int, *, minimum: int = 1) -> int:
    """A whole number of at least `minimum`."""
    value = text(name)
    if not value:
        return default
    try:
        result = int(value)
    except ValueError:
        raise ImproperlyConfigured(f"{name} must be a whole number, not {value!r}.") from None
    if result < minimum:
        raise ImproperlyConfigured(f"{name} must be at least {minimum}, not {result}.")
    return result


def number(name: str, default: float) -> float:
    """A number above zero, such as a time in seconds."""
    value = text(name)
    if not value:
        return default
    try:
        result = float(value)
    except ValueError:
        raise ImproperlyConfigured(f"{name} must be a number, not {value!r}.") from None
    if not math.isfinite(result) or result <= 0:
        raise ImproperlyConfigured(f"{name} must be a number above zero, not {value!r}.")
    return result


def secret_key() -> str:
    """SECRET_KEY, or a key made once for this checkout and kept in `var/secret_key` (mode 600)."""
    value = text("SECRET_KEY")
    path = BASE_DIR / "var" / "secret_key"
    return value or _kept_secret(path, "SECRET_KEY", lambda: secrets.token_urlsafe(48))


def encryption_keys() -> list[str]:
    """AUTOPILOT_ENCRYPTION_KEYS: Fernet keys, of which the first encrypts and all decrypt.

    Left out, a key is made once and kept in `var/encryption_key` (mode 600), but only where the
    embedded servers keep the data on this machine too. With servers of one's own there is none:
    a key that one machine has made for itself would be missing on the next.
    """
    name = "AUTOPILOT_ENCRYPTION_KEYS"
    keys = words("AUTOPILOT_ENCRYPTION_KEYS", default=[])
    if not keys and uses_embedded():
        path = BASE_DIR / "var" / "encryption_key"
        keys = [_kept_secret(path, name, lambda: urlsafe_b64encode(os.urandom(32)).decode())]
    for place, key in enumerate(keys, start=1):
        if not _is_fernet_key(key):
            raise ImproperlyConfigured(
                f"{name}: key {place} of {len(keys)} is not 32 bytes in URL-safe base64; make one: "
                "python3 -c 'import base64, os; "
                "print(base64.urlsafe_b64encode(os.urandom(32)).decode())'"
            )
    return keys


def _is_fernet_key(key: str) -> bool:
    try:
        return len(urlsafe_b64decode(key)) == 32
    except (binascii.Error, ValueError):
        return False


def _kept_secret(path: Path, name: str, make: Callable[[], str]) -> str:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            draft = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(make())
                file.flush()
                os.fsync(file.fileno())
            try:
                # A link, unlike a rename, never replaces the key of a process that was quicker.
                os.link(draft, path)
            except FileExistsError:
                pass
            finally:
                draft.unlink()
        value = path.read_text().strip()
    except OSError as error:
        raise ImproperlyConfigured(
            f"The secret key's file {path} can't be read or written ({error.strerror}); "
            f"set {name}, or let the account that runs this own the folder."
        ) from None
    if not value:
        raise ImproperlyConfigured(f"The file {path} is empty; delete it, or set {name}.")
    return value


def uses_embedded() -> bool:
    """Whether one of the servers has no address of its own, so that the embedded pair is needed."""
    return not (text("DATABASE_URL") and text("REDIS_URL"))


def samples() -> bool:
    """AUTOPILOT_SAMPLES; left out, whether this is somebody's first look at the product.

    That is: it runs on the embedded servers, or this process is `manage.py quickstart`, which hands
    its answer to the processes that it starts.
    """
    first_look = uses_embedded() or sys.argv[1:2] == ["quickstart"]
    return boolean("AUTOPILOT_SAMPLES", default=first_look)


def database() -> dict[str, Any]:
    """DATABASES["default"] from DATABASE_URL, else the embedded PostgreSQL (not started here)."""
    url = text("DATABASE_URL") or embedded.default_pair().addresses.database_url
    return parse_database_url(url)


def redis_url() -> str:
    """REDIS_URL, else the address of the embedded Valkey (not started here)."""
    url = text("REDIS_URL")
    if not url:
        return embedded.default_pair().addresses.redis_url
    parts = _split("REDIS_URL", url)
    if parts.scheme not in {"redis", "rediss", "unix"}:
        raise ImproperlyConfigured(
            "REDIS_URL must start with redis://, rediss:// or unix://, "
            "such as redis://localhost:6379/0."
        )
    if parts.scheme == "unix" and not parts.path.strip("/"):
        raise ImproperlyConfigured(
            "REDIS_URL lacks the socket's path, such as unix:///run/redis.sock?db=0."
        )
    if parts.scheme != "unix" and not parts.hostname:
        raise ImproperlyConfigured(
            "REDIS_URL lacks the server's name, such as redis://localhost:6379/0."
        )
    return url


def parse_database_url(url: str, name: str = "DATABASE_URL") -> dict[str, Any]:
    """A Django database from `postgresql://user:password@host:port/database?sslmode=require`.

    `?host=/folder` means a Unix socket in that folder. `name` is the variable named in errors.
    """
    example = "postgresql://user:password@localhost:5432/autopilot"
    parts = _split(name, url)
    if parts.scheme not in {"postgres", "postgresql"}:
        raise ImproperlyConfigured(
            f"{name} must start with postgresql://, such as {example}; "
            "the work is kept in PostgreSQL only."
        )
    database_name = unquote(parts.path.lstrip("/"))
    if not database_name:
        raise ImproperlyConfigured(f"{name} lacks the database's name, such as {example}.")
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    host = query.pop("host", None) or unquote(parts.hostname or "")
    port = query.pop("port", None) or (str(parts.port) if parts.port else "")
    unknown = sorted(set(query) - LIBPQ_OPTIONS)
    if unknown:
        raise ImproperlyConfigured(
            f"{name} has an option that PostgreSQL's client doesn't know: {unknown[0]!r}."
        )
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": database_name,
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": host,
        "PORT": port,
        "CONN_MAX_AGE": CONNECTION_SECONDS,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": _options(name, query),
    }


def _options(name: str, query: Mapping[str, str]) -> dict[str, Any]:
    timeout = query.get("connect_timeout", str(CONNECT_TIMEOUT_SECONDS))
    if not timeout.isdecimal():
        raise ImproperlyConfigured(f"{name}: connect_timeout must be whole seconds.")
    return {**query, "connect_timeout": int(timeout)}


def _split(name: str, url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        # Reading the port is what checks it.
        _ = parts.port
    except ValueError as error:
        # Python quotes what it took for the port: part of a password, if that holds a slash.
        reason = str(error) if "out of range" in str(error) else "its port is not a number"
        raise ImproperlyConfigured(
            f"{name} is no valid address: {reason} (in a password, write / as %2F and @ as %40)."
        ) from None
    return parts


_FILE = os.environ.get("AUTOPILOT_ENV_FILE", str(BASE_DIR / ".env"))
if _FILE:
    load_file(Path(_FILE))
