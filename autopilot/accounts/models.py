"""What this app keeps: the audit trail, security events, and attempts to sign in."""

from __future__ import annotations

from django.conf import settings
from django.db import models

from autopilot.accounts.kinds import ActorKind, SecurityEventKind
from autopilot.common import clock


def _choices(kinds: type[ActorKind] | type[SecurityEventKind]) -> list[tuple[str, str]]:
    return [(kind.value, kind.value.replace("_", " ")) for kind in kinds]


class AuditEntry(models.Model):
    """One change of one thing: who, what, before, after, from where.

    Written in the transaction of the change, never altered after: a trigger refuses it. Actor and
    target are kept by value, not by foreign key, because the entry outlives both.
    """

    at = models.DateTimeField(default=clock.now, editable=False)
    actor_kind = models.CharField(max_length=16, choices=_choices(ActorKind))
    actor_id = models.CharField(max_length=64, blank=True)
    actor_name = models.CharField(max_length=200)
    action = models.CharField(max_length=100)
    target_type = models.CharField(max_length=100)
    target_id = models.CharField(max_length=64)
    target_name = models.CharField(max_length=200, blank=True)
    before = models.JSONField(null=True, blank=True)
    after = models.JSONField(null=True, blank=True)
    address = models.CharField(max_length=64, blank=True)
    request_id = models.CharField(max_length=64, blank=True)

    class Meta:
        verbose_name = "audit entry"
        verbose_name_plural = "audit entries"
        ordering = ["-id"]
        default_permissions = ("view",)
        constraints = [
            models.CheckConstraint(
                condition=models.Q(actor_kind__in=list(ActorKind)), name="audit_actor_kind"
            ),
            models.CheckConstraint(
                condition=~models.Q(action="") & ~models.Q(target_id=""), name="audit_complete"
            ),
        ]
        indexes = [
            # The history of one thing, newest first.
            models.Index(fields=["target_type", "target_id", "-id"], name="audit_target"),
            # Everything one person did.
            models.Index(fields=["actor_id", "-id"], name="audit_actor"),
            models.Index(fields=["action", "-id"], name="audit_action"),
        ]

    def __str__(self) -> str:
        return f"{self.action} of {self.target_type} {self.target_id} by {self.actor_name}"


class SecurityEvent(models.Model):
    """One thing that a guard wants to know: a failed login, a forged token, a refused action.

    `name` is what was claimed (a user name that need not exist), `user` who it really was, when
    that is known.
    """

    at = models.DateTimeField(default=clock.now, editable=False)
    kind = models.CharField(max_length=32, choices=_choices(SecurityEventKind))
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    name = models.CharField(max_length=200, blank=True)
    message = models.CharField(max_length=500, blank=True)
    address = models.CharField(max_length=64, blank=True)
    method = models.CharField(max_length=10, blank=True)
    path = models.CharField(max_length=300, blank=True)
    request_id = models.CharField(max_length=64, blank=True)

    class Meta:
        verbose_name = "security event"
        ordering = ["-id"]
        default_permissions = ("view",)
        permissions = [("manage_users", "Can manage users and their roles")]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(kind__in=list(SecurityEventKind)), name="security_event_kind"
            ),
        ]
        indexes = [
            # The flood guard counts what one address caused in the last minute.
            models.Index(fields=["address", "kind", "at"], name="security_flood"),
            models.Index(fields=["kind", "-id"], name="security_kind"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.name or self.address}"


class LoginAttempt(models.Model):
    """One password tried for a name from an address, and not (yet) found to be right.

    The row is written before the password is looked at and removed when it was right, so that
    many attempts at the same moment count each other. Rows outside the window mean nothing.
    """

    at = models.DateTimeField(default=clock.now, editable=False)
    name = models.CharField(max_length=200)
    address = models.CharField(max_length=64, blank=True)

    class Meta:
        verbose_name = "login attempt"
        default_permissions = ()
        indexes = [
            # The lock-out counts the attempts of one name from one address in the window.
            models.Index(fields=["name", "address", "at"], name="login_attempt_key"),
            # What is past the window is deleted by time.
            models.Index(fields=["at"], name="login_attempt_at"),
        ]

    def __str__(self) -> str:
        return f"{self.name} from {self.address} at {self.at:%Y-%m-%d %H:%M:%S}"


class StreamTicket(models.Model):
    """A ticket that opens one stream: deleted when it is used, meaningless when it is too old.

    digest: of its text, which is stored nowhere. mark, session_key, until: what it stands for;
    see `tickets.Credential`.
    """

    digest = models.CharField(max_length=64, unique=True)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+", db_index=False
    )
    mark = models.CharField(max_length=64)
    session_key = models.CharField(max_length=64, blank=True)
    until = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField()

    class Meta:
        verbose_name = "stream ticket"
        default_permissions = ()
        indexes = [
            # What is too old is deleted by time.
            models.Index(fields=["expires_at"], name="stream_ticket_expires"),
            # Serves the foreign key when an account is deleted.
            models.Index(fields=["user"], name="stream_ticket_user"),
        ]

    def __str__(self) -> str:
        return f"until {self.expires_at:%Y-%m-%d %H:%M:%S}"
