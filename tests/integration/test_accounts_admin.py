from __future__ import annotations

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, Permission, User
from django.test import Client

from autopilot.accounts import audit
from autopilot.accounts.actors import Actor
from autopilot.accounts.models import AuditEntry, SecurityEvent
from autopilot.accounts.services import sync_roles

pytestmark = pytest.mark.django_db

USERS = "/admin/auth/user/"


@pytest.fixture
def roles(db: None) -> None:
    sync_roles()


@pytest.fixture
def anna(roles: None) -> User:
    user = get_user_model().objects.create_user("anna", is_staff=True)
    user.groups.add(Group.objects.get(name="Administrator"))
    return user


@pytest.fixture
def vera(roles: None) -> User:
    user = get_user_model().objects.create_user("vera", is_staff=True)
    user.groups.add(Group.objects.get(name="Viewer"))
    return user


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def form(user: User, **changes: object) -> dict[str, object]:
    groups = list(user.groups.values_list("pk", flat=True))
    fields = {"username": user.username, "is_active": "on", "is_staff": "on", "groups": groups}
    return {"first_name": "", "last_name": "", "email": "", **fields, **changes}


def test_administrators_change_roles_and_it_is_remembered(anna: User, vera: User) -> None:
    operator = Group.objects.get(name="Operator")
    response = signed_in(anna).post(
        f"{USERS}{vera.pk}/change/", form(vera, email="vera@example.org", groups=[operator.pk])
    )
    assert response.status_code == 302
    assert list(vera.groups.values_list("name", flat=True)) == ["Operator"]
    entry = AuditEntry.objects.get(action="user.changed")
    assert (entry.actor_name, entry.target_id) == ("anna", str(vera.pk))
    assert entry.before == {"email": "", "groups": ["Viewer"]}
    assert entry.after == {"email": "vera@example.org", "groups": ["Operator"]}
    event = SecurityEvent.objects.get()
    assert (event.kind, event.message) == ("role_changed", "by anna: Viewer -> Operator")


def test_administrators_cannot_raise_anybody_above_the_matrix(anna: User) -> None:
    everything = Permission.objects.values_list("pk", flat=True)
    response = signed_in(anna).post(
        f"{USERS}{anna.pk}/change/",
        form(anna, is_superuser="on", user_permissions=list(everything)),
    )
    assert response.status_code == 302
    anna = get_user_model().objects.get(pk=anna.pk)
    assert not anna.is_superuser
    assert not anna.user_permissions.exists()


def test_administrators_do_not_touch_superusers(anna: User) -> None:
    root = get_user_model().objects.create_superuser("root", password="a password of root")
    client = signed_in(anna)
    assert client.post(f"{USERS}{root.pk}/change/", form(root, email="x@y.zz")).status_code == 403
    passwords = {"password1": "taken over 123", "password2": "taken over 123"}
    assert client.post(f"{USERS}{root.pk}/password/", passwords).status_code == 403
    root = get_user_model().objects.get(pk=root.pk)
    assert (root.email, root.check_password("a password of root")) == ("", True)
    kinds = SecurityEvent.objects.values_list("kind", "name")
    assert list(kinds) == [("permission_denied", "anna")] * 2


def test_a_new_password_is_audited_without_the_password(anna: User, vera: User) -> None:
    passwords = {"password1": "quite new 456", "password2": "quite new 456"}
    response = signed_in(anna).post(f"{USERS}{vera.pk}/password/", passwords)
    assert response.status_code == 302
    assert get_user_model().objects.get(pk=vera.pk).check_password("quite new 456")
    entry = AuditEntry.objects.get(action="user.password_changed")
    assert (entry.target_id, entry.before, entry.after) == (str(vera.pk), None, None)


def test_a_new_account_is_audited(anna: User) -> None:
    fields = {"username": "otto", "password1": "quite new 456", "password2": "quite new 456"}
    response = signed_in(anna).post(f"{USERS}add/", {**fields, "usable_password": "true"})
    assert response.status_code == 302
    entry = AuditEntry.objects.get(action="user.created")
    assert entry.target_name == "otto"
    assert entry.after["username"] == "otto"
    assert "quite new" not in str(entry.after)


@pytest.mark.parametrize(
    "path",
    [
        USERS,
        "/admin/accounts/auditentry/",
        "/admin/accounts/securityevent/",
        "/admin/auth/group/",
    ],
)
def test_viewers_see_nothing_of_it(vera: User, path: str) -> None:
    assert signed_in(vera).get(path).status_code == 403
    assert SecurityEvent.objects.get().kind == "permission_denied"


@pytest.mark.parametrize("model", ["auditentry", "securityevent"])
def test_administrators_read_the_trails_and_change_nothing(anna: User, model: str) -> None:
    entry = audit.record(actor=Actor.system("tests"), action="user.seen", target=anna)
    event = SecurityEvent.objects.create(kind="login_failed", name="otto")
    row = entry if model == "auditentry" else event
    client = signed_in(anna)
    assert client.get(f"/admin/accounts/{model}/").status_code == 200
    assert client.get(f"/admin/accounts/{model}/{row.pk}/change/").status_code == 200
    assert client.post(f"/admin/accounts/{model}/{row.pk}/change/", {}).status_code == 403
    assert client.get(f"/admin/accounts/{model}/add/").status_code == 403
    assert client.post(f"/admin/accounts/{model}/{row.pk}/delete/").status_code == 403


def test_the_groups_of_the_matrix_are_not_edited_even_by_superusers(roles: None) -> None:
    root = get_user_model().objects.create_superuser("root")
    viewer, own = Group.objects.get(name="Viewer"), Group.objects.create(name="Night shift")
    client = signed_in(root)
    assert client.post(f"/admin/auth/group/{viewer.pk}/change/", {"name": "x"}).status_code == 403
    assert client.post(f"/admin/auth/group/{own.pk}/change/", {"name": "x"}).status_code == 302
    assert set(Group.objects.values_list("name", flat=True)) >= {"Viewer", "x"}
