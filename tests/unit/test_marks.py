"""Hidden values as they are stored and shown, and that nobody can forge one."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.db import connection

from autopilot.common import crypto
from executions.hidden.marks import (
    KEY,
    MASK,
    Hidden,
    masked,
    reveal,
    seal,
    stored,
    unseal,
)
from executions.models.fields import SealedJSONField

OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()


def written(value: Any) -> str:
    """What the field sends to the database."""
    adapted = SealedJSONField().get_db_prep_value(value, connection)
    return json.dumps(adapted.adapted)


def shown(text: str) -> Any:
    """What the field makes of the column."""
    return SealedJSONField().from_db_value(text, None, connection)


def test_a_sealed_value_is_stored_encrypted_and_shown_masked() -> None:
    text = written({"card": seal({"number": "4111111111111111"}), "n": 1})
    assert "4111" not in text
    document = shown(text)
    assert document == {"card": MASK, "n": 1}
    assert json.dumps(document, ensure_ascii=False) == '{"card": "•••", "n": 1}'
    assert reveal(document) == {"card": {"number": "4111111111111111"}, "n": 1}


def test_a_text_says_what_is_not_hidden_of_it() -> None:
    hidden = seal("Dear Ada!", shown="Dear •••!", parts=["Ada"])
    assert shown(written([hidden])) == ["Dear •••!"]
    opened = unseal(hidden.token)
    assert (opened.value, opened.parts) == ("Dear Ada!", ["Ada"])


def test_what_was_read_can_be_saved_and_copied_without_its_key(settings: Any) -> None:
    text = written({"a": [seal("secret")], "b": seal(None)})
    settings.AUTOPILOT_ENCRYPTION_KEYS = []
    document = shown(text)
    again = written(copy.deepcopy(document))
    assert json.loads(again) == json.loads(text)


def test_a_value_of_any_kind_is_the_same_afterwards() -> None:
    for value in (None, True, 0, 1.5, 2**70, "", "é\n", [], {}, {KEY: 1}, [{"a": [1]}]):
        assert unseal(seal(value).token).value == value


@pytest.mark.parametrize(
    "value",
    [
        {KEY: "gAAAAA"},
        {KEY: None},
        {KEY: {KEY: 1}, "other": 1},
        [{"$$sealed": 1, KEY: 2, "$$$sealed": [{KEY: 3}]}],
        {"shown": MASK, KEY: "x"},
        {"$sealedness": 1, "sealed": 2, "$": 3},
        {"text": f'a text with {{"{KEY}": "x"}} in it', "mask": MASK},
    ],
)
def test_what_looks_like_a_mark_is_data(value: Any) -> None:
    text = written(value)
    assert not any(isinstance(each, Hidden) for each in leaves(shown(text)))
    assert shown(text) == value
    assert reveal(shown(text)) == value


def test_a_token_from_somewhere_is_not_opened_as_input() -> None:
    token = seal("secret").token
    assert reveal(masked(stored({KEY: token, "shown": MASK}))) == {KEY: token, "shown": MASK}


def leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for item in value.values() for leaf in leaves(item)]
    if isinstance(value, list):
        return [leaf for item in value for leaf in leaves(item)]
    return [value]


def test_after_a_rotation_the_new_key_writes_and_the_old_one_still_reads(
    settings: Any,
) -> None:
    settings.AUTOPILOT_ENCRYPTION_KEYS = [OLD]
    before = seal("secret")
    settings.AUTOPILOT_ENCRYPTION_KEYS = [NEW, OLD]
    after = seal("secret")
    assert reveal([before, after]) == ["secret", "secret"]
    settings.AUTOPILOT_ENCRYPTION_KEYS = [NEW]
    assert reveal(after) == "secret"
    with pytest.raises(crypto.Undecipherable, match="None of the keys"):
        reveal(before)


def test_without_a_key_nothing_is_sealed_and_nothing_opened(settings: Any) -> None:
    hidden = seal("secret")
    settings.AUTOPILOT_ENCRYPTION_KEYS = []
    with pytest.raises(crypto.NoEncryptionKey, match="set AUTOPILOT_ENCRYPTION_KEYS"):
        seal("secret")
    with pytest.raises(crypto.Undecipherable, match="is empty"):
        reveal(hidden)


def test_a_digest_is_recognised_after_a_rotation_and_by_nobody_else(
    settings: Any,
) -> None:
    settings.AUTOPILOT_ENCRYPTION_KEYS = [OLD]
    (before,) = crypto.digests(b"1234")
    settings.AUTOPILOT_ENCRYPTION_KEYS = [NEW, OLD]
    now = crypto.digests(b"1234")
    assert now[1] == before
    assert now[0] != before
    assert len(before) == 64
