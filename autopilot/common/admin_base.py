"""What the pages of the console share: addresses, permissions, refusals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import update_wrapper
from typing import Any, ClassVar, NamedTuple, TypeVar

from django.contrib import messages
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.db.models import Model
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.cache import add_never_cache_headers
from unfold.admin import ModelAdmin

from autopilot.common.errors import DomainError, NotFound

Row = TypeVar("Row")

# A request and what the address holds, by name.
PageView = Callable[..., HttpResponseBase]


class Crumb(NamedTuple):
    """One place on the way to a page; without `url` it is the page itself."""

    title: str
    url: str = ""


class PageAdmin(ModelAdmin):
    """A model whose pages in the console are our own, and whose rows only services change.

    permission: full name of the permission to see anything of it; empty: all staff may look, and
    the pages themselves show everybody what is theirs.
    """

    permission: ClassVar[str]

    def pages(self) -> Sequence[URLPattern]:
        """Every page, made with `page`; `changelist` and `change` are expected among the names."""
        # Not an abstract method: Django's admin classes have a metaclass of their own.
        name = type(self).__name__
        raise ImproperlyConfigured(f"{name} names no pages: it has to define pages().")

    def get_urls(self) -> list[URLPattern]:
        return list(self.pages())

    def page(
        self, pattern: str, name: str, view: PageView, *, permission: str | Sequence[str] = ()
    ) -> URLPattern:
        """A page at `pattern` for staff who may see this model, and hold `permission`."""
        more = [permission] if isinstance(permission, str) else permission
        needed = [name for name in (self.permission, *more) if name]

        def guarded(request: HttpRequest, **kwargs: Any) -> HttpResponseBase:
            if not request.user.has_perms(needed):
                raise PermissionDenied
            response = view(request, **kwargs)
            add_never_cache_headers(response)
            return response

        update_wrapper(guarded, view)
        staff_only: PageView = self.admin_site.admin_view(guarded)
        return path(pattern, staff_only, name=self.url_name(name))

    def url_name(self, name: str) -> str:
        return f"{self.opts.app_label}_{self.opts.model_name}_{name}"

    def url(self, name: str, *args: object) -> str:
        """The address of a page of this model."""
        return reverse(f"admin:{self.url_name(name)}", args=args)

    def render(
        self,
        request: HttpRequest,
        template: str,
        *,
        title: str,
        crumbs: Sequence[Crumb] = (),
        status: int = 200,
        **context: Any,
    ) -> TemplateResponse:
        """A whole page of the console."""
        request.current_app = self.admin_site.name
        return TemplateResponse(
            request,
            template,
            {
                **self.admin_site.each_context(request),
                "title": title,
                "crumbs": [*crumbs, Crumb(title)],
                "has_permission": True,
                **context,
            },
            status=status,
        )

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return not self.permission or request.user.has_perm(self.permission)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


def found(row: Row | None) -> Row:
    """The row; a 404 page where there is none."""
    if row is None:
        raise Http404
    return row


def attempt(request: HttpRequest, work: Callable[[], Any], *, done: str = "") -> bool:
    """Do `work` and say `done`; what a service refuses becomes a message instead of an error page.

    A lack of permission and a missing thing stay what they are: 403 and 404.
    """
    try:
        work()
    except DomainError as error:
        if error.status in {401, 403} or isinstance(error, NotFound):
            raise
        messages.error(request, error.message)
        return False
    if done:
        messages.success(request, done)
    return True
