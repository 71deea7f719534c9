"""`email.send`: sends a mail through Django's mail backend."""

from __future__ import annotations

import re
import smtplib
from email.utils import formataddr, make_msgid, parseaddr
from typing import Annotated, Any, Self

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.mail import EmailMultiAlternatives
from django.core.mail.utils import DNS_NAME
from django.core.validators import validate_email
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from workflows.actions import Context, action
from workflows.actions.base import BuiltinError

MAX_RECIPIENTS = 50

# Line breaks of any alphabet: what follows one in a header would be a header of its own.
_BREAKS = re.compile("[\x00-\x1f\x7f\x85\u2028\u2029]")
_NAMED = re.compile(r"(?P<name>[^<>]*)<(?P<address>[^<>\s]+)>")


def _one_line(text: str) -> str:
    if _BREAKS.search(text):
        raise ValueError("A single line without control characters was expected.")
    return text


def _mailbox(text: str) -> str:
    """`ann@example.com` or `Ann Lee <ann@example.com>`, never several in one."""
    _one_line(text)
    match = _NAMED.fullmatch(text.strip())
    address = match["address"] if match else text.strip()
    try:
        validate_email(address)
    except ValidationError:
        raise ValueError(
            "A mail address such as ann@example.com or Ann Lee <ann@example.com> was expected."
        ) from None
    name = match["name"].strip().removeprefix('"').removesuffix('"') if match else ""
    return formataddr((name, address))


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Line = Annotated[str, Field(max_length=500), AfterValidator(_one_line)]
Mailbox = Annotated[str, Field(max_length=500), AfterValidator(_mailbox)]
Mailboxes = Annotated[list[Mailbox], Field(max_length=MAX_RECIPIENTS), BeforeValidator(_listed)]


class EmailParams(BaseModel):
    """Who gets what. Addresses are texts or lists of texts. See docs/actions.md."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    to: Mailboxes = Field(default_factory=list)
    cc: Mailboxes = Field(default_factory=list)
    bcc: Mailboxes = Field(default_factory=list)
    reply_to: Mailboxes = Field(default_factory=list)
    from_: Mailbox | None = Field(default=None, alias="from")
    subject: Line = Field(min_length=1)
    text: str = ""
    html: str = ""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        count = len(self.to) + len(self.cc) + len(self.bcc)
        if not 1 <= count <= MAX_RECIPIENTS:
            raise ValueError(f"From 1 to {MAX_RECIPIENTS} recipients were expected.")
        if not (self.text or self.html):
            raise ValueError("A text or html was expected.")
        return self


@action("email.send", schema=EmailParams, idempotent=False)
def email_send(params: EmailParams, context: Context) -> dict[str, Any]:
    """Send a mail."""
    message = _message(params)
    try:
        message.send()
    except smtplib.SMTPRecipientsRefused as error:
        raise _refused_recipients(error) from None
    except smtplib.SMTPAuthenticationError as error:
        reason = "the mail server did not accept the user name and password of this installation"
        raise _failed("email.login", reason, error.smtp_code, retryable=False) from None
    except (smtplib.SMTPConnectError, smtplib.SMTPServerDisconnected, smtplib.SMTPHeloError):
        raise _failed("email.connect", "the mail server hung up") from None
    except smtplib.SMTPResponseException as error:
        raise _failed(
            "email.refused",
            f"the mail server refused it: {_answer(error.smtp_error)}",
            error.smtp_code,
            retryable=_is_temporary(error.smtp_code),
        ) from None
    except smtplib.SMTPException as error:
        reason = f"the mail server can't take it ({type(error).__name__})"
        raise _failed("email.refused", reason, retryable=False) from None
    except OSError as error:
        reason = f"the mail server can't be reached ({error.strerror or type(error).__name__})"
        raise _failed("email.connect", reason) from None
    context.log.info("mail sent", recipients=len(message.recipients()))
    return {
        "message_id": message.extra_headers["Message-ID"],
        "recipients": len(message.recipients()),
    }


def _message(params: EmailParams) -> EmailMultiAlternatives:
    message = EmailMultiAlternatives(
        subject=params.subject,
        body=params.text or params.html,
        from_email=params.from_ or settings.DEFAULT_FROM_EMAIL,
        to=params.to,
        cc=params.cc,
        bcc=params.bcc,
        reply_to=params.reply_to,
        headers={"Message-ID": make_msgid(domain=str(DNS_NAME))},
    )
    if params.html and params.text:
        message.attach_alternative(params.html, "text/html")
    elif params.html:
        message.content_subtype = "html"
    return message


def _failed(
    code: str, reason: str, smtp_code: int | None = None, *, retryable: bool = True
) -> BuiltinError:
    return BuiltinError(
        code,
        f"The mail was not sent: {reason}.",
        retryable=retryable,
        details={"smtp_code": smtp_code} if smtp_code else None,
    )


def _refused_recipients(error: smtplib.SMTPRecipientsRefused) -> BuiltinError:
    """All were refused; what the server said to the first one stands for the rest."""
    answers = {parseaddr(who)[1] or who: answer for who, answer in error.recipients.items()}
    code, text = next(iter(answers.values()))
    failed = _failed(
        "email.refused",
        f"the mail server refused every recipient: {_answer(text)}",
        code,
        # Only if it may take each of them later.
        retryable=all(_is_temporary(each) for each, _ in answers.values()),
    )
    failed.details = {"smtp_code": code, "recipients": sorted(answers)}
    return failed


def _is_temporary(smtp_code: int) -> bool:
    return 400 <= smtp_code < 500


def _answer(text: bytes | str) -> str:
    words = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    return " ".join(words.split())[:300].rstrip(".") or "without a word"
