from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import jwt
import pytest
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from rest_framework.test import APIClient
from rest_framework_simplejwt.tokens import AccessToken, RefreshToken

from autopilot.accounts.models import LoginAttempt, SecurityEvent
from autopilot.accounts.roles import MATRIX, Role
from autopilot.accounts.services import sync_roles
from autopilot.common import clock

PASSWORD = "a password of vera"
TOKEN, REFRESH, VERIFY, ME = (
    f"/api/v1/auth/{name}" for name in ("token/", "token/refresh/", "token/verify/", "me/")
)


@pytest.fixture
def api() -> APIClient:
    return APIClient()


@pytest.fixture
def vera(db: None) -> User:
    return get_user_model().objects.create_user(
        "vera", password=PASSWORD, first_name="Vera", last_name="Holm"
    )


def events() -> list[tuple[str, str, str]]:
    rows = SecurityEvent.objects.order_by("id")
    return [(row.kind, row.name, row.path) for row in rows]


def code(response) -> str:
    return response.json()["error"]["code"]


def obtain(api: APIClient, password: str = PASSWORD, name: str = "vera", **extra: str):
    return api.post(TOKEN, {"username": name, "password": password}, format="json", **extra)


def bearer(token: object) -> dict[str, str]:
    return {"HTTP_AUTHORIZATION": f"Bearer {token}"}


def expired(kind: type, user: User) -> str:
    token = kind.for_user(user)
    token.set_exp(lifetime=-timedelta(seconds=1))
    return str(token)


def test_a_password_buys_a_pair_that_opens_the_api(api: APIClient, vera: User) -> None:
    response = obtain(api)
    assert response.status_code == 200
    assert sorted(response.json()) == ["access", "refresh"]
    assert LoginAttempt.objects.count() == 0
    vera = get_user_model().objects.get(pk=vera.pk)
    assert vera.last_login is not None

    me = api.get(ME, **bearer(response.json()["access"]))
    assert me.status_code == 200
    assert me.json() == {
        "user": {
            "id": str(vera.pk),
            "username": "vera",
            "name": "Vera Holm",
            "is_superuser": False,
        },
        "roles": [],
        "permissions": [],
    }
    assert events() == []


def test_me_shows_roles_and_permissions(api: APIClient, vera: User) -> None:
    changes = {change.role: change for change in sync_roles()}
    vera.groups.add(*vera.groups.model.objects.filter(name__in=["Viewer", "Administrator"]))
    body = api.get(ME, **bearer(AccessToken.for_user(vera))).json()
    assert body["roles"] == ["Viewer", "Administrator"]
    expected = set(MATRIX[Role.ADMINISTRATOR]) - set(changes[Role.ADMINISTRATOR].missing)
    assert body["permissions"] == sorted(expected)


def test_a_superuser_holds_every_permission(api: APIClient, vera: User) -> None:
    get_user_model().objects.filter(pk=vera.pk).update(is_superuser=True)
    body = api.get(ME, **bearer(AccessToken.for_user(vera))).json()
    assert body["permissions"] == sorted(MATRIX[Role.ADMINISTRATOR])
    assert body["user"]["is_superuser"] is True


def test_a_session_opens_the_api_too(vera: User) -> None:
    client = Client()
    client.force_login(vera)
    assert client.get(ME).json()["user"]["username"] == "vera"


@pytest.mark.parametrize(
    ("name", "password"), [("vera", "wrong"), ("nobody", PASSWORD), ("vera", " " + PASSWORD)]
)
def test_a_wrong_password_and_an_unknown_name_look_the_same(
    api: APIClient, vera: User, name: str, password: str
) -> None:
    response = obtain(api, password, name)
    assert response.status_code == 401
    assert response["WWW-Authenticate"] == 'Bearer realm="api"'
    error = response.json()["error"]
    assert error["code"] == "auth.failed"
    assert error["message"] == "No active account has this user name and password."
    assert events() == [("login_failed", name, TOKEN)]


def test_an_inactive_account_gets_no_token(api: APIClient, vera: User) -> None:
    get_user_model().objects.filter(pk=vera.pk).update(is_active=False)
    assert code(obtain(api)) == "auth.failed"


def test_missing_fields_are_named(api: APIClient, db: None) -> None:
    response = api.post(TOKEN, {}, format="json")
    assert response.status_code == 400
    assert [detail["path"] for detail in response.json()["error"]["details"]] == [
        "$.username",
        "$.password",
    ]


def test_an_expired_token_is_told_from_a_forged_and_a_missing_one(
    api: APIClient, vera: User
) -> None:
    old = api.get(ME, **bearer(expired(AccessToken, vera)))
    assert (old.status_code, code(old)) == (401, "token.expired")
    assert old["WWW-Authenticate"] == (
        'Bearer realm="api", error="invalid_token", '
        'error_description="The token has expired; get a new one."'
    )

    claims = AccessToken.for_user(vera).payload
    forged = api.get(ME, **bearer(jwt.encode(claims, "x" * 50, algorithm="HS256")))
    assert (forged.status_code, code(forged)) == (401, "token.invalid")

    missing = api.get(ME)
    assert (missing.status_code, code(missing)) == (401, "not_authenticated")
    assert missing["WWW-Authenticate"] == 'Bearer realm="api"'

    assert events() == [("token_expired", "", ME), ("token_invalid", "", ME)]


def test_a_token_signed_by_no_algorithm_is_forged(api: APIClient, vera: User) -> None:
    claims = AccessToken.for_user(vera).payload
    response = api.get(ME, **bearer(jwt.encode(claims, "", algorithm="none")))
    assert (response.status_code, code(response)) == (401, "token.invalid")


@pytest.mark.parametrize("value", ["Bearer", "Bearer a b", "Bearer é", "bearer x.y.z"])
def test_a_header_that_holds_no_token_is_refused(api: APIClient, db: None, value: str) -> None:
    response = api.get(ME, HTTP_AUTHORIZATION=value)
    assert (response.status_code, code(response)) == (401, "token.invalid")


def test_a_refresh_token_opens_nothing(api: APIClient, vera: User) -> None:
    response = api.get(ME, **bearer(RefreshToken.for_user(vera)))
    assert (response.status_code, code(response)) == (401, "token.invalid")


def test_a_token_ends_with_its_account_and_with_its_password(api: APIClient, vera: User) -> None:
    access, refresh = AccessToken.for_user(vera), str(RefreshToken.for_user(vera))
    vera.set_password("another password of vera")
    vera.save()
    assert code(api.get(ME, **bearer(access))) == "token.invalid"
    assert code(api.post(REFRESH, {"refresh": refresh}, format="json")) == "token.invalid"
    assert code(api.post(VERIFY, {"token": str(access)}, format="json")) == "token.invalid"

    access = AccessToken.for_user(vera)
    assert api.get(ME, **bearer(access)).status_code == 200
    get_user_model().objects.filter(pk=vera.pk).update(is_active=False)
    assert code(api.get(ME, **bearer(access))) == "token.invalid"
    vera.delete()
    assert code(api.get(ME, **bearer(access))) == "token.invalid"


def test_a_refresh_token_works_once(api: APIClient, vera: User) -> None:
    first = obtain(api).json()["refresh"]
    renewed = api.post(REFRESH, {"refresh": first}, format="json")
    assert renewed.status_code == 200
    assert api.get(ME, **bearer(renewed.json()["access"])).status_code == 200

    again = api.post(REFRESH, {"refresh": first}, format="json")
    assert (again.status_code, code(again)) == (401, "token.invalid")
    assert code(api.post(VERIFY, {"token": first}, format="json")) == "token.invalid"
    assert events() == [("token_invalid", "", REFRESH), ("token_invalid", "", VERIFY)]

    second = renewed.json()["refresh"]
    assert api.post(REFRESH, {"refresh": second}, format="json").status_code == 200


def test_an_expired_refresh_token_is_told_so(api: APIClient, vera: User) -> None:
    response = api.post(REFRESH, {"refresh": expired(RefreshToken, vera)}, format="json")
    assert (response.status_code, code(response)) == (401, "token.expired")


def test_an_access_token_renews_nothing(api: APIClient, vera: User) -> None:
    response = api.post(REFRESH, {"refresh": str(AccessToken.for_user(vera))}, format="json")
    assert (response.status_code, code(response)) == (401, "token.invalid")


@pytest.mark.parametrize("kind", [AccessToken, RefreshToken])
def test_verify_says_until_when(api: APIClient, vera: User, kind: type) -> None:
    token = kind.for_user(vera)
    response = api.post(VERIFY, {"token": str(token)}, format="json")
    assert response.status_code == 200
    body = response.json()
    assert body["token_type"] == kind.token_type
    assert body["expires_at"].endswith("Z")


def test_verify_refuses_old_and_forged_tokens(api: APIClient, vera: User) -> None:
    old = api.post(VERIFY, {"token": expired(AccessToken, vera)}, format="json")
    assert (old.status_code, code(old)) == (401, "token.expired")
    forged = api.post(VERIFY, {"token": "x.y.z"}, format="json")
    assert (forged.status_code, code(forged)) == (401, "token.invalid")


def test_a_stale_token_in_the_header_does_not_keep_anybody_from_signing_in(
    api: APIClient, vera: User
) -> None:
    assert obtain(api, **bearer("x.y.z")).status_code == 200


def test_failed_logins_lock_the_name_from_that_address(api: APIClient, vera: User) -> None:
    for _ in range(5):
        assert obtain(api, "wrong").status_code == 401
    locked = obtain(api)
    assert (locked.status_code, code(locked)) == (429, "auth.locked")
    assert 890 <= int(locked["Retry-After"]) <= 901
    # Spelling the name otherwise is no way round.
    assert obtain(api, name="VERA").status_code == 429
    # Another name, and the same name from elsewhere, are not touched.
    assert obtain(api, "wrong", "otto").status_code == 401
    assert obtain(api, REMOTE_ADDR="192.0.2.9").status_code == 200
    kinds = [kind for kind, _, _ in events()]
    assert kinds == ["login_failed"] * 5 + ["login_locked"] * 2 + ["login_failed"]


def test_a_lock_ends_with_its_window(api: APIClient, vera: User) -> None:
    for _ in range(5):
        obtain(api, "wrong")
    assert obtain(api).status_code == 429
    LoginAttempt.objects.update(at=clock.now() - timedelta(seconds=901))
    assert obtain(api).status_code == 200


def test_a_right_password_clears_the_count(api: APIClient, vera: User) -> None:
    for _ in range(4):
        obtain(api, "wrong")
    assert obtain(api).status_code == 200
    for _ in range(4):
        assert obtain(api, "wrong").status_code == 401
    assert obtain(api).status_code == 200


def test_the_console_and_the_api_share_the_lock(api: APIClient, vera: User) -> None:
    client = Client()
    for _ in range(5):
        page = client.post("/admin/login/", {"username": "vera", "password": "wrong"})
        assert page.status_code == 200
    assert obtain(api).status_code == 429

    page = client.post("/admin/login/", {"username": "vera", "password": PASSWORD})
    assert page.status_code == 429
    assert int(page["Retry-After"]) > 0
    assert "Too many failed logins for this name from this address" in page.content.decode()


def test_a_forwarded_address_counts_only_behind_our_own_proxies(
    api: APIClient, vera: User, settings
) -> None:
    forwarded = {"HTTP_X_FORWARDED_FOR": "198.51.100.1, 203.0.113.7"}
    obtain(api, "wrong", **forwarded)
    settings.AUTOPILOT_TRUSTED_PROXIES = 1
    obtain(api, "wrong", **forwarded)
    settings.AUTOPILOT_TRUSTED_PROXIES = 2
    obtain(api, "wrong", **forwarded)
    addresses = LoginAttempt.objects.order_by("id").values_list("address", flat=True)
    assert list(addresses) == ["127.0.0.1", "203.0.113.7", "198.51.100.1"]


@pytest.mark.django_db(transaction=True)
def test_many_guesses_at_once_get_no_more_tries_than_one_after_the_other() -> None:
    get_user_model().objects.create_user("vera", password=PASSWORD)

    def guess(number: int) -> int:
        try:
            return obtain(APIClient(), f"wrong {number}").status_code
        finally:
            connection.close()

    with ThreadPoolExecutor(12) as pool:
        statuses = list(pool.map(guess, range(24)))
    assert set(statuses) <= {401, 429}
    assert statuses.count(401) <= settings.AUTOPILOT_LOGIN_ATTEMPTS


@pytest.mark.django_db(transaction=True)
def test_a_refresh_token_used_twice_at_once_works_once() -> None:
    vera = get_user_model().objects.create_user("vera", password=PASSWORD)
    refresh = str(RefreshToken.for_user(vera))

    def renew(_: int) -> int:
        try:
            return APIClient().post(REFRESH, {"refresh": refresh}, format="json").status_code
        finally:
            connection.close()

    with ThreadPoolExecutor(6) as pool:
        statuses = sorted(pool.map(renew, range(6)))
    assert statuses == [200, 401, 401, 401, 401, 401]
