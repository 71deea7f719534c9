"""Accounts in the console: people and their roles to edit; audit and security events to read."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group, User
from django.db import models, transaction
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from rest_framework_simplejwt.token_blacklist.models import BlacklistedToken, OutstandingToken
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
from unfold.paginator import InfinitePaginator

from autopilot.accounts import audit
from autopilot.accounts.actors import actor_of
from autopilot.accounts.models import AuditEntry, SecurityEvent
from autopilot.accounts.roles import Permission, Role
from autopilot.accounts.services import note_role_change, roles_of
from autopilot.common.templatetags.console import json_block, moment

_PERSON_FIELDS = ("username", "first_name", "last_name", "email")
_ACCESS_FIELDS = ("is_active", "is_staff", "is_superuser")


def _json(value: Any, label: str) -> str:
    if value is None:
        return ""
    return render_to_string("console/json.html", json_block(value, label))


class ReadOnlyAdmin(ModelAdmin):
    """Rows that the product writes and nobody edits."""

    required_permission: ClassVar[Permission]
    # Both tables only grow: pages go on without anybody counting the rows.
    ordering = ("-id",)
    paginator = InfinitePaginator
    show_full_result_count = False
    list_per_page = 50

    @admin.display(description="When")
    def moment(self, row: Any) -> str:
        return moment(row.at)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return request.user.has_perm(self.required_permission)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: models.Model | None = None) -> bool:
        return False


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    required_permission = Permission.AUDIT_VIEW
    list_display = ("moment", "who", "action", "target", "address")
    list_display_links = ("moment",)
    list_filter = ("action", "target_type", "actor_kind")
    search_fields = ("actor_name", "target_name", "=target_id", "=request_id")
    search_help_text = "Person, target, its id, request id"
    fields = (
        *("moment", "action", "who", "actor_kind", "target", "target_type", "target_id"),
        *("before_json", "after_json", "address", "request_id"),
    )

    @admin.display(description="Who")
    def who(self, entry: AuditEntry) -> str:
        return entry.actor_name

    @admin.display(description="Target")
    def target(self, entry: AuditEntry) -> str:
        return entry.target_name or f"{entry.target_type} {entry.target_id}"

    @admin.display(description="Before")
    def before_json(self, entry: AuditEntry) -> str:
        return _json(entry.before, "what it was before")

    @admin.display(description="After")
    def after_json(self, entry: AuditEntry) -> str:
        return _json(entry.after, "what it is after")


@admin.register(SecurityEvent)
class SecurityEventAdmin(ReadOnlyAdmin):
    required_permission = Permission.SECURITY_VIEW
    list_display = ("moment", "kind", "name", "message", "address", "path")
    list_display_links = ("moment",)
    list_filter = ("kind",)
    search_fields = ("name", "=address", "=request_id")
    search_help_text = "Name, address, request id"
    list_select_related = ("user",)
    fields = ("moment", "kind", "name", "user", "message", "address", "method", "path")


class UserAdmin(DjangoUserAdmin, ModelAdmin):
    """People. Administrators edit them, except superusers, whom only superusers touch."""

    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("username", "roles", "is_active", "is_staff", "is_superuser", "last_login")
    list_filter = ("is_active", "is_staff", "groups")
    readonly_fields = ("last_login", "date_joined")
    # The two-column chooser is wider than the page.
    filter_horizontal = ()

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[User]:
        return super().get_queryset(request).prefetch_related("groups")

    @admin.display(description="Roles and groups")
    def roles(self, user: User) -> str:
        return ", ".join(group.name for group in user.groups.all())

    def get_fieldsets(self, request: HttpRequest, obj: User | None = None) -> Any:
        if obj is None:
            return super().get_fieldsets(request, obj)
        access: tuple[str, ...] = ("is_active", "is_staff", "groups")
        if request.user.is_superuser:
            # What is not in the form cannot be sent with it: nobody raises themselves.
            access = (*access, "is_superuser", "user_permissions")
        return (
            (None, {"fields": ("username", "password")}),
            ("Person", {"fields": ("first_name", "last_name", "email")}),
            ("Access", {"fields": access}),
            ("Dates", {"fields": ("last_login", "date_joined")}),
        )

    def _manages(self, request: HttpRequest, obj: User | None) -> bool:
        user = request.user
        if obj is not None and obj.is_superuser and not user.is_superuser:
            return False
        return user.has_perm(Permission.USER_MANAGE)

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self._manages(request, None)

    def has_view_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return self._manages(request, None)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self._manages(request, None)

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return self._manages(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        # Accounts are switched off, not removed: what they did stays theirs.
        return False

    def save_model(
        self, request: HttpRequest, obj: User, form: ModelForm[User], change: bool
    ) -> None:
        before = get_user_model().objects.filter(pk=obj.pk).first() if change else None
        request.user_before = _facts(before) if before else None  # type: ignore[attr-defined]
        request.roles_before = roles_of(before) if before else []  # type: ignore[attr-defined]
        super().save_model(request, obj, form, change)

    def save_related(
        self, request: HttpRequest, form: ModelForm[User], formsets: Any, change: bool
    ) -> None:
        """Django calls this last, in the transaction of the whole form."""
        super().save_related(request, form, formsets, change)
        user = form.instance
        before, after = request.user_before, _facts(user)  # type: ignore[attr-defined]
        if before == after:
            return
        actor = actor_of(request.user, request)
        audit.record(
            actor=actor,
            action="user.changed" if change else "user.created",
            target=user,
            before={key: before[key] for key in after if before[key] != after[key]}
            if before
            else None,
            after={key: after[key] for key in after if not before or before[key] != after[key]},
        )
        note_role_change(
            user=user,
            before=request.roles_before,  # type: ignore[attr-defined]
            after=roles_of(user),
            actor=actor,
        )

    def user_change_password(
        self, request: HttpRequest, id: str, form_url: str = ""
    ) -> HttpResponse:
        with transaction.atomic():
            response = super().user_change_password(request, id, form_url)
            if request.method == "POST" and response.status_code == 302:
                user = self.get_object(request, id)
                actor = actor_of(request.user, request)
                if user is not None:
                    audit.record(actor=actor, action="user.password_changed", target=user)
        return response


def _facts(user: User) -> dict[str, Any]:
    facts: dict[str, Any] = {
        name: getattr(user, name) for name in (*_PERSON_FIELDS, *_ACCESS_FIELDS)
    }
    facts["groups"] = sorted(user.groups.values_list("name", flat=True))
    facts["permissions"] = sorted(user.user_permissions.values_list("codename", flat=True))
    return facts


class GroupAdmin(DjangoGroupAdmin, ModelAdmin):
    """Groups of other apps. The four roles come from the matrix in code and are not edited."""

    list_display = ("name", "members")
    list_display_links = ("name",)

    @admin.display(description="People")
    def members(self, group: Group) -> int:
        people: int = group.people  # type: ignore[attr-defined]
        return people

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Group]:
        return super().get_queryset(request).annotate(people=models.Count("user"))

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Group | None = None) -> bool:
        # Who gives roles to people may see what the roles are.
        may_manage = request.user.has_perm(Permission.USER_MANAGE)
        return may_manage or super().has_view_permission(request, obj)

    def has_change_permission(self, request: HttpRequest, obj: Group | None = None) -> bool:
        return not _is_role(obj) and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Group | None = None) -> bool:
        return not _is_role(obj) and super().has_delete_permission(request, obj)


def _is_role(group: Group | None) -> bool:
    return group is not None and group.name in set(Role)


admin.site.unregister(Group)
admin.site.register(Group, GroupAdmin)
if get_user_model() is User:
    # A project with a user model of its own brings the admin that fits it.
    admin.site.unregister(User)
    admin.site.register(User, UserAdmin)
# Bookkeeping of the token library; there is nothing in it for people.
admin.site.unregister(OutstandingToken)
admin.site.unregister(BlacklistedToken)
