from __future__ import annotations

from datetime import UTC, datetime
from io import StringIO

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser, Group, Permission, User
from django.core.management import CommandError, call_command
from django.db import Error, IntegrityError, connection, transaction
from django.test import RequestFactory

from autopilot.accounts import audit, security
from autopilot.accounts.actors import Actor, ActorKind, actor_of
from autopilot.accounts.kinds import SecurityEventKind
from autopilot.accounts.models import AuditEntry, SecurityEvent
from autopilot.accounts.roles import MATRIX, Role
from autopilot.accounts.roles import Permission as P
from autopilot.accounts.security import Note
from autopilot.accounts.services import roles_of, set_roles, sync_roles
from autopilot.common import clock
from autopilot.common.errors import Invalid, NotAuthenticated, PermissionDenied

SYSTEM = Actor.system("tests")


@pytest.fixture
def vera(db: None) -> User:
    return get_user_model().objects.create_user("vera", password="a password of vera")


def give(user: User, *names: str) -> User:
    for name in names:
        label, codename = name.split(".")
        user.user_permissions.add(
            Permission.objects.get(content_type__app_label=label, codename=codename)
        )
    return get_user_model().objects.get(pk=user.pk)


# Actors


def test_an_actor_carries_what_the_user_holds_and_where_from(vera: User) -> None:
    request = RequestFactory().get("/", REMOTE_ADDR="192.0.2.1")
    request.request_id = "request-1"
    actor = actor_of(give(vera, P.AUDIT_VIEW), request)
    assert actor == Actor(
        kind=ActorKind.USER,
        id=vera.pk,
        name="vera",
        permissions=frozenset({"accounts.view_auditentry"}),
        address="192.0.2.1",
        request_id="request-1",
    )


def test_a_superuser_is_an_actor_who_may_everything(vera: User) -> None:
    vera.is_superuser = True
    assert actor_of(vera).permissions is None


def test_an_inactive_superuser_may_nothing(vera: User) -> None:
    vera.is_superuser, vera.is_active = True, False
    assert actor_of(vera).permissions == frozenset()


def test_nobody_is_no_actor() -> None:
    with pytest.raises(NotAuthenticated):
        actor_of(AnonymousUser())


# Audit


def test_an_audit_entry_says_who_what_before_after_and_from_where(vera: User) -> None:
    actor = Actor(ActorKind.USER, 7, "otto", frozenset(), "192.0.2.1", "request-1")
    moment = datetime(2024, 5, 1, 12, tzinfo=UTC)
    entry = audit.record(
        actor=actor,
        action="user.renamed",
        target=vera,
        before={"name": "a\x00b", "ratio": float("nan")},
        after={"name": "half \ud83d", "since": moment},
    )
    entry = AuditEntry.objects.get(pk=entry.pk)
    assert (entry.actor_kind, entry.actor_id, entry.actor_name) == ("user", "7", "otto")
    assert (entry.action, entry.target_type, entry.target_id, entry.target_name) == (
        "user.renamed",
        "auth.user",
        str(vera.pk),
        "vera",
    )
    assert entry.before == {"name": "a\ufffdb", "ratio": "nan"}
    assert entry.after == {"name": "half \ufffd", "since": "2024-05-01T12:00:00Z"}
    assert (entry.address, entry.request_id) == ("192.0.2.1", "request-1")


def test_an_audit_entry_goes_with_the_transaction_of_its_change(vera: User) -> None:
    with transaction.atomic():
        audit.record(actor=SYSTEM, action="user.changed", target=vera)
        transaction.set_rollback(True)
    assert AuditEntry.objects.count() == 0


def test_an_audit_entry_outlives_its_target(vera: User) -> None:
    audit.record(actor=SYSTEM, action="user.deleted", target=vera)
    vera.delete()
    assert AuditEntry.objects.get().target_name == "vera"


def test_what_was_never_saved_cannot_be_audited(db: None) -> None:
    with pytest.raises(ValueError, match=r"user\.changed: an unsaved auth\.User cannot be audited"):
        audit.record(actor=SYSTEM, action="user.changed", target=User(username="x"))


@pytest.mark.parametrize(
    ("statement", "verb"),
    [
        ("UPDATE accounts_auditentry SET actor_name = 'somebody else'", "UPDATE"),
        ("DELETE FROM accounts_auditentry", "DELETE"),
    ],
)
def test_the_database_refuses_to_change_the_audit_trail(
    vera: User, statement: str, verb: str
) -> None:
    audit.record(actor=SYSTEM, action="user.changed", target=vera)
    with (
        pytest.raises(IntegrityError, match=f"append-only: {verb} of accounts_auditentry"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(statement)
    assert AuditEntry.objects.get().actor_name == "tests"


def test_the_orm_is_refused_as_well(vera: User) -> None:
    entry = audit.record(actor=SYSTEM, action="user.changed", target=vera)
    with pytest.raises(Error, match="append-only"), transaction.atomic():
        entry.delete()
    with pytest.raises(Error, match="append-only"), transaction.atomic():
        AuditEntry.objects.update(action="x")


@pytest.mark.django_db(transaction=True)
def test_truncating_the_audit_trail_is_refused_outside_of_test_databases(own_servers) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_database()")
        assert not cursor.fetchone()[0].startswith("test_")
    audit.record(
        actor=SYSTEM, action="user.changed", target=get_user_model().objects.create_user("vera")
    )
    with (
        pytest.raises(IntegrityError, match="append-only: TRUNCATE of accounts_auditentry"),
        connection.cursor() as cursor,
    ):
        cursor.execute("TRUNCATE accounts_auditentry")
    assert AuditEntry.objects.count() == 1


# Roles


def test_sync_roles_makes_the_groups_and_then_has_nothing_to_do(db: None) -> None:
    first = sync_roles()
    assert [(change.role, change.created) for change in first] == [(role, True) for role in Role]
    missing = {name for change in first for name in change.missing}
    for role in Role:
        held = {
            f"{label}.{codename}"
            for label, codename in Group.objects.get(name=role).permissions.values_list(
                "content_type__app_label", "codename"
            )
        }
        assert held == MATRIX[role] - missing
    assert AuditEntry.objects.filter(action="role.synced").count() == 4

    assert not any(change.changed for change in sync_roles())
    assert AuditEntry.objects.count() == 4


def test_sync_roles_mends_what_was_changed_by_hand_and_leaves_other_apps_alone(db: None) -> None:
    sync_roles()
    viewer = Group.objects.get(name="Viewer")
    ours = Permission.objects.get(codename="manage_users")
    theirs = Permission.objects.get(codename="view_session")
    viewer.permissions.set([ours, theirs])

    (change,) = [change for change in sync_roles() if change.changed]
    assert change.role == Role.VIEWER
    assert "monitoring.view_monitoring" in change.added
    assert change.removed == ["accounts.manage_users"]
    assert theirs in viewer.permissions.all()
    assert ours not in viewer.permissions.all()


def test_sync_roles_command_prints_what_changed(db: None) -> None:
    first = run_sync_roles()
    assert "Viewer: created\n" in first
    assert "Administrator: + accounts.view_auditentry\n" in first
    assert "The roles are up to date.\n" in run_sync_roles()
    Group.objects.get(name="Viewer").permissions.add(
        Permission.objects.get(codename="manage_users")
    )
    assert "Viewer: - accounts.manage_users\n" in run_sync_roles()


def run_sync_roles() -> str:
    out = StringIO()
    call_command("sync_roles", stdout=out)
    return out.getvalue()


def test_sync_roles_command_says_when_migrations_are_missing(db: None) -> None:
    Permission.objects.filter(codename="manage_users").delete()
    with pytest.raises(CommandError, match=r"accounts\.manage_users.*run manage\.py migrate"):
        call_command("sync_roles", stdout=StringIO())


def test_roles_are_set_and_remembered(vera: User) -> None:
    sync_roles()
    vera.groups.add(Group.objects.create(name="Night shift"))
    set_roles(user=vera, roles=[Role.VIEWER, Role.OPERATOR], actor=SYSTEM)
    assert set_roles(user=vera, roles=[Role.DESIGNER], actor=SYSTEM) == {
        Role.VIEWER,
        Role.OPERATOR,
    }
    assert roles_of(vera) == [Role.DESIGNER]
    assert vera.groups.filter(name="Night shift").exists()
    entry = AuditEntry.objects.filter(action="user.roles_changed").latest("id")
    assert entry.before == {"roles": ["Operator", "Viewer"]}
    assert entry.after == {"roles": ["Designer"]}
    event = SecurityEvent.objects.latest("id")
    assert (event.kind, event.user_id) == ("role_changed", vera.pk)
    assert event.message == "by tests: Viewer, Operator -> Designer"

    set_roles(user=vera, roles=[Role.DESIGNER], actor=SYSTEM)
    assert AuditEntry.objects.filter(action="user.roles_changed").count() == 2


def test_setting_roles_needs_the_permission(vera: User) -> None:
    sync_roles()
    with pytest.raises(PermissionDenied, match=r"vera does not .* accounts\.manage_users\."):
        set_roles(user=vera, roles=[Role.ADMINISTRATOR], actor=actor_of(vera))
    assert roles_of(vera) == []


def test_roles_that_do_not_exist_yet_are_told(vera: User) -> None:
    with pytest.raises(Invalid, match=r"The role Viewer does not exist yet"):
        set_roles(user=vera, roles=[Role.VIEWER], actor=SYSTEM)


# Security events


@pytest.mark.django_db(transaction=True)
def test_a_denied_action_leaves_its_row_though_everything_is_rolled_back() -> None:
    vera = get_user_model().objects.create_user("vera")

    @transaction.atomic
    def create_then_ask() -> None:
        get_user_model().objects.create_user("never")
        actor_of(vera).require(P.USER_MANAGE)

    with pytest.raises(PermissionDenied), security.collecting():
        create_then_ask()
    assert not get_user_model().objects.filter(username="never").exists()
    event = SecurityEvent.objects.get()
    assert (event.kind, event.user_id, event.message) == (
        "permission_denied",
        vera.pk,
        "needs accounts.manage_users",
    )


@pytest.mark.django_db(transaction=True)
def test_outside_of_any_transaction_an_event_is_written_at_once() -> None:
    security.note(Note(kind=SecurityEventKind.TOKEN_INVALID, name="a\x00b" * 200))
    event = SecurityEvent.objects.get()
    assert event.name == ("a\ufffdb" * 200)[:200]


def test_one_address_cannot_fill_the_table(db: None) -> None:
    flood = [Note(kind=SecurityEventKind.TOKEN_INVALID, address="192.0.2.1")] * 100
    security.write(flood)
    security.write(flood)
    assert SecurityEvent.objects.count() == 60
    security.write([Note(kind=SecurityEventKind.TOKEN_INVALID, address="192.0.2.2")])
    security.write([Note(kind=SecurityEventKind.LOGIN_FAILED, address="192.0.2.1")])
    assert SecurityEvent.objects.count() == 62

    SecurityEvent.objects.update(at=clock.now() - security.FLOOD_WINDOW * 2)
    security.write(flood[:1])
    assert SecurityEvent.objects.count() == 63


@pytest.mark.django_db(transaction=True)
def test_an_event_that_cannot_be_written_harms_nobody() -> None:
    nobody = 2**30
    security.write([Note(kind=SecurityEventKind.LOGIN_FAILED, user_id=nobody)])
    assert SecurityEvent.objects.count() == 0
