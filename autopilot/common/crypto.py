"""Values at rest: encrypted and recognised with the keys of AUTOPILOT_ENCRYPTION_KEYS.

The first key encrypts, all of them decrypt: a new key is put in front, and an old one stays in the
list as long as anything that it has encrypted is kept.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64decode
from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings

from autopilot.common.errors import Conflict


class NoEncryptionKey(Conflict):
    """There is no key to encrypt with; set AUTOPILOT_ENCRYPTION_KEYS."""

    code = "encryption.no_key"


class Undecipherable(Conflict):
    """None of the keys in AUTOPILOT_ENCRYPTION_KEYS fits what is stored."""

    code = "encryption.undecipherable"


def has_key() -> bool:
    """Whether anything can be encrypted."""
    return bool(settings.AUTOPILOT_ENCRYPTION_KEYS)


def encrypt(value: bytes) -> str:
    """A token of ASCII characters. Raises NoEncryptionKey."""
    if not has_key():
        raise NoEncryptionKey
    return _fernet(tuple(settings.AUTOPILOT_ENCRYPTION_KEYS)).encrypt(value).decode()


def decrypt(token: str) -> bytes:
    """What `encrypt` was given. Raises Undecipherable."""
    if not has_key():
        raise Undecipherable("The setting AUTOPILOT_ENCRYPTION_KEYS is empty.")
    try:
        return _fernet(tuple(settings.AUTOPILOT_ENCRYPTION_KEYS)).decrypt(token.encode())
    except InvalidToken:
        raise Undecipherable from None


def digests(value: bytes) -> list[str]:
    """SHA-256 of the value in hexadecimal, keyed: with the first key, then with each older one.

    So that a short value can't be found by trying, and is still recognised after a rotation.
    Without any key the secret key of the site stands in.
    """
    keys = [urlsafe_b64decode(key) for key in settings.AUTOPILOT_ENCRYPTION_KEYS]
    keys = keys or [settings.SECRET_KEY.encode()]
    return [hmac.digest(b"recognise" + key, value, "sha256").hex() for key in keys]


@lru_cache(maxsize=4)
def _fernet(keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(key) for key in keys])
