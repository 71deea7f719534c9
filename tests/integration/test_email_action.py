"""`email.send` through Django's backends and a small SMTP server."""

from __future__ import annotations

import smtplib
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.core import mail

from autopilot.common.problems import Problem
from tests.engine import published, run
from workflows.actions import Context
from workflows.actions.base import BuiltinError, InvalidParams
from workflows.actions.builtin import email
from workflows.actions.registry import registry

FINE = {"to": "ann@example.com", "subject": "Hello", "text": "Hi"}


def send(**params: Any) -> Any:
    action = registry.get("email.send")
    assert action is not None
    assert (action.is_async, action.idempotent) == (False, False)
    context = Context(idempotency_key="7-step-1", execution_id=7, step="step")
    return action.function(action.validate(params), context)


def test_a_mail_with_everything() -> None:
    output = send(
        to=["Ann Lee <ann@example.com>", "bob@example.com"],
        cc="Zoë <zoe@example.com>",
        bcc=["eve@example.com"],
        reply_to="help@example.com",
        subject="Grüße",
        text="Hi ü",
        html="<p>Hi</p>",
        **{"from": '"Desk, Help" <desk@example.com>'},
    )
    (sent,) = mail.outbox
    assert isinstance(sent, mail.EmailMultiAlternatives)
    assert (sent.subject, sent.body) == ("Grüße", "Hi ü")
    assert sent.to == ["Ann Lee <ann@example.com>", "bob@example.com"]
    assert sent.cc == ["=?utf-8?q?Zo=C3=AB?= <zoe@example.com>"]
    assert sent.bcc == ["eve@example.com"]
    assert sent.reply_to == ["help@example.com"]
    assert sent.from_email == '"Desk, Help" <desk@example.com>'
    assert [tuple(each) for each in sent.alternatives] == [("<p>Hi</p>", "text/html")]
    message = sent.message()
    assert message["Bcc"] is None
    assert output == {"message_id": message["Message-ID"], "recipients": 4}


def test_html_alone_is_the_body_and_the_sender_is_the_settings(settings: Any) -> None:
    settings.DEFAULT_FROM_EMAIL = "Autopilot <autopilot@example.com>"
    send(to="ann@example.com", subject="x", html="<p>Hi</p>")
    (sent,) = mail.outbox
    assert (sent.body, sent.content_subtype) == ("<p>Hi</p>", "html")
    assert sent.from_email == "Autopilot <autopilot@example.com>"


ADDRESS = "A mail address such as ann@example.com or Ann Lee <ann@example.com> was expected."
LINE = "A single line without control characters was expected."


@pytest.mark.parametrize(
    ("changes", "path", "message"),
    [
        ({"subject": "Hello\nBcc: eve@example.com"}, "$.subject", LINE),
        ({"subject": "Hello\u2028x"}, "$.subject", LINE),
        ({"subject": ""}, "$.subject", "At least 1 character was expected."),
        ({"to": ["ann@example.com\r\nBcc: eve@example.com"]}, "$.to[0]", LINE),
        ({"from": "a@example.com\nX: y"}, "$.from", LINE),
        ({"reply_to": "x\n<a@example.com>"}, "$.reply_to", LINE),
        ({"to": "ann"}, "$.to", ADDRESS),
        ({"to": ["ann@example.com", "a@b@c"]}, "$.to[1]", ADDRESS),
        ({"to": "ann@example.com, eve@example.com"}, "$.to", ADDRESS),
        ({"cc": "Ann <ann@example.com> <eve@example.com>"}, "$.cc", ADDRESS),
        ({"to": []}, "$", "From 1 to 50 recipients were expected."),
        ({"to": ["a@example.com"] * 30, "bcc": ["b@example.com"] * 21}, "$",
         "From 1 to 50 recipients were expected."),
        ({"to": ["a@example.com"] * 51}, "$.to", "At most 50 entries were expected."),
        ({"text": ""}, "$", "A text or html was expected."),
        ({"attachments": []}, "$.attachments", "There is no such parameter."),
    ],
)  # fmt: skip
def test_what_is_no_mail_is_refused(changes: dict[str, Any], path: str, message: str) -> None:
    with pytest.raises(InvalidParams) as caught:
        send(**{**FINE, **changes})
    code = "field.unknown" if "no such" in message else "field.invalid"
    assert caught.value.problems == [Problem(path, code, message)]
    assert mail.outbox == []


class Smtp(socketserver.StreamRequestHandler):
    """Says what it is told to, by the command's first word."""

    answers: dict[str, str] = {}

    def handle(self) -> None:
        self.say("220 hello")
        while line := self.rfile.readline():
            word = line.split()[0].upper().decode()
            if word == "DATA" and "DATA" not in self.answers:
                self.say("354 go on")
                while self.rfile.readline().strip() != b".":
                    pass
                self.say(self.answers.get(".", "250 kept"))
            elif self.answers.get(word) == "hang up":
                return
            else:
                self.say(self.answers.get(word, "250 fine"))

    def say(self, line: str) -> None:
        self.wfile.write(line.encode() + b"\r\n")


@contextmanager
def smtp(settings: Any, **answers: str) -> Iterator[None]:
    handler = type("Handler", (Smtp,), {"answers": answers})
    with socketserver.TCPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = server.server_address
        settings.EMAIL_USE_TLS = False
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


def test_a_server_takes_it(settings: Any) -> None:
    with smtp(settings):
        assert send(**FINE)["recipients"] == 1


@pytest.mark.parametrize(
    ("answers", "code", "retryable", "reason"),
    [
        ({"RCPT": "550 no such user"}, "email.refused", False,
         "the mail server refused every recipient: no such user"),
        ({"RCPT": "450 later"}, "email.refused", True,
         "the mail server refused every recipient: later"),
        ({"MAIL": "553 not you"}, "email.refused", False,
         "the mail server refused it: not you"),
        ({"DATA": "451 busy"}, "email.refused", True, "the mail server refused it: busy"),
        ({".": "554 spam\x00"}, "email.refused", False, "the mail server refused it: spam\x00"),
        ({"DATA": "hang up"}, "email.connect", True, "the mail server hung up"),
    ],
)  # fmt: skip
def test_a_server_refuses_it(
    settings: Any, answers: dict[str, str], code: str, retryable: bool, reason: str
) -> None:
    with smtp(settings, **answers), pytest.raises(BuiltinError) as caught:
        send(**FINE)
    assert caught.value.message == f"The mail was not sent: {reason}."
    assert (caught.value.code, caught.value.retryable) == (code, retryable)


def test_no_server_at_all(settings: Any) -> None:
    with smtp(settings):
        pass
    with pytest.raises(BuiltinError) as caught:
        send(**FINE)
    assert (caught.value.code, caught.value.retryable) == ("email.connect", True)
    assert caught.value.message == (
        "The mail was not sent: the mail server can't be reached (Connection refused)."
    )


def test_a_wrong_password_is_not_tried_again_nor_shown(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Any, fail_silently: bool = False) -> None:
        raise smtplib.SMTPAuthenticationError(535, b"hunter2 is wrong")

    monkeypatch.setattr(email.EmailMultiAlternatives, "send", refuse)
    with pytest.raises(BuiltinError) as caught:
        send(**FINE)
    assert (caught.value.code, caught.value.retryable) == ("email.login", False)
    assert "hunter2" not in str(caught.value)


@pytest.mark.django_db(transaction=True)
def test_a_workflow_sends_a_mail() -> None:
    params = {**FINE, "to": "{{ input.who }}"}
    step = {"id": "tell", "type": "action", "config": {"action": "email.send", "with": params}}
    workflow = published([step])
    execution = run(workflow, {"who": "ann@example.com"})
    assert execution.state == "completed"
    assert [each.to for each in mail.outbox] == [["ann@example.com"]]
    execution = run(workflow, {"who": "ann@example.com\nBcc: eve@example.com"})
    assert execution.error is not None
    assert execution.error["code"] == "validation.input"
    assert len(mail.outbox) == 1
