"""Django's settings; what a deployment may change comes from the environment (`env.py`)."""

from __future__ import annotations

import warnings
from datetime import timedelta
from pathlib import Path
from typing import Any

from csp.constants import NONE, SELF, UNSAFE_EVAL, UNSAFE_INLINE

from autopilot import env
from autopilot.common.api.schema import words_of
from autopilot.common.logs import logging_config
from autopilot.console import UNFOLD as UNFOLD

BASE_DIR = Path(__file__).resolve().parent.parent

DEBUG = env.boolean("DEBUG", default=False)
SECRET_KEY = env.secret_key()
# What is stored encrypted: the first key encrypts, all decrypt.
AUTOPILOT_ENCRYPTION_KEYS = env.encryption_keys()
ALLOWED_HOSTS = env.words("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.words("CSRF_TRUSTED_ORIGINS", default=[])

# Apps of the Django team that runs this project stand beside ours.
AUTOPILOT_APPS = env.words("AUTOPILOT_APPS", default=[])
# The samples are such an app too: for whoever tries the product out, not for a deployment.
AUTOPILOT_SAMPLES = env.samples()
SAMPLE_APPS = ["samples", "samples.orders"]

INSTALLED_APPS = [
    "unfold",
    # Without looking for admin modules: the pages are `urls.py`'s, and workers have none.
    "django.contrib.admin.apps.SimpleAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "rest_framework_simplejwt.token_blacklist",
    "django_filters",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "autopilot.common",
    "autopilot.accounts",
    "workflows",
    "executions",
    "monitoring",
    # After ours: its `rqworker` command gives way to the project's own.
    "django_rq",
    *AUTOPILOT_APPS,
    *[app for app in SAMPLE_APPS if AUTOPILOT_SAMPLES and app not in AUTOPILOT_APPS],
]

MIDDLEWARE = [
    "autopilot.common.middleware.RequestIdMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "autopilot.common.middleware.ContentSecurityPolicyMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "autopilot.common.middleware.SlashMiddleware",
    "autopilot.common.middleware.ErrorsMiddleware",
    # Outside of every transaction: what it writes survives a rollback of the request.
    "autopilot.accounts.middleware.SecurityEventMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "autopilot.urls"
WSGI_APPLICATION = "autopilot.wsgi.application"
ASGI_APPLICATION = "autopilot.asgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

DATABASES = {"default": env.database()}
REDIS_URL = env.redis_url()
CACHES = {
    "default": {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": REDIS_URL,
        "KEY_PREFIX": "autopilotcx",
        "OPTIONS": {
            "CLIENT_CLASS": "django_redis.client.DefaultClient",
            "SERIALIZER": "django_redis.serializers.json.JSONSerializer",
            # Redis holds only what may vanish: a dead cache is a miss, never an error page.
            "IGNORE_EXCEPTIONS": True,
            "SOCKET_CONNECT_TIMEOUT": 0.5,
            "SOCKET_TIMEOUT": 0.5,
        },
    }
}

AUTOPILOT_QUEUES = env.words("AUTOPILOT_QUEUES", default=["default"])
RQ_QUEUES = {
    name: {"URL": REDIS_URL, "SERIALIZER": "rq.serializers.JSONSerializer"}
    for name in AUTOPILOT_QUEUES
}

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 10},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
AUTHENTICATION_BACKENDS = ["autopilot.accounts.backends.PasswordBackend"]
CSRF_FAILURE_VIEW = "autopilot.common.views.csrf_failure"
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_I18N = True
USE_TZ = True

STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
STATIC_ROOT = BASE_DIR / "var" / "static"
# Finders serve the apps' own files too, so a clone needs no collectstatic before its first page.
WHITENOISE_USE_FINDERS = True
warnings.filterwarnings("ignore", message="No directory at", category=UserWarning)

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "autopilot.accounts.api.authentication.BearerAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["autopilot.common.api.permissions.DenyByDefault"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["autopilot.common.api.parsers.StrictJSONParser"],
    "DEFAULT_FILTER_BACKENDS": ["django_filters.rest_framework.DjangoFilterBackend"],
    "DEFAULT_PAGINATION_CLASS": "autopilot.common.api.pagination.PageNumberPagination",
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_METADATA_CLASS": None,
    "EXCEPTION_HANDLER": "autopilot.common.api.exceptions.exception_handler",
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
}

SIMPLE_JWT = {
    "ACCESS_TOKEN_LIFETIME": timedelta(minutes=env.integer("JWT_ACCESS_MINUTES", default=30)),
    "REFRESH_TOKEN_LIFETIME": timedelta(days=env.integer("JWT_REFRESH_DAYS", default=7)),
    "ROTATE_REFRESH_TOKENS": True,
    "BLACKLIST_AFTER_ROTATION": True,
    # A changed password ends every token that was given out before it.
    "CHECK_REVOKE_TOKEN": True,
}

SPECTACULAR_SETTINGS = {
    "TITLE": "AutopilotCX",
    "DESCRIPTION": "A durable workflow engine that lives in a Django project.",
    "VERSION": "1.0.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_AUTHENTICATION": [],
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "autopilot.common.api.schema.document_errors",
    ],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "SCHEMA_PATH_PREFIX": "/api/v1",
    # One name for each list of choices, wherever a field uses it.
    "ENUM_NAME_OVERRIDES": {
        "ExecutionState": words_of("executions.engine.states.State"),
        "Verb": words_of("executions.engine.events.Verb"),
        "SignalState": words_of("executions.engine.signals.SignalState"),
        "ApprovalState": words_of("executions.models.approval.ApprovalState"),
        "StepState": words_of("executions.engine.states.StepState"),
        "VersionState": words_of("workflows.versioning.states.VersionState"),
        "RolloutState": words_of("workflows.versioning.rollouts.RolloutState"),
        "RolloutDecisionKind": words_of("workflows.versioning.rollouts.DecisionKind"),
        "MigrationState": words_of("executions.models.migration.MigrationState"),
        "MoveState": words_of("executions.models.migration.MoveState"),
        "KindEnum": words_of("executions.models.execution.Kind"),
        "HealthState": words_of("monitoring.health.State"),
        "Role": words_of("autopilot.accounts.roles.Role"),
        "Permission": words_of("autopilot.accounts.roles.Permission"),
    },
    "COMPONENT_SPLIT_REQUEST": True,
}

SECURE_CONTENT_TYPE_NOSNIFF = True
X_FRAME_OPTIONS = "DENY"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = env.boolean("HTTPS", default=False)
SECURE_SSL_REDIRECT = env.boolean("HTTPS", default=False)
# Probes speak plain HTTP inside the cluster.
SECURE_REDIRECT_EXEMPT = [r"^api/v1/monitoring/health/"]
SECURE_HSTS_SECONDS = 31_536_000 if SECURE_SSL_REDIRECT else 0
# Both promise something for names beside this one, so a deployment has to say so itself.
SECURE_HSTS_INCLUDE_SUBDOMAINS = env.boolean("HSTS_INCLUDE_SUBDOMAINS", default=False)
SECURE_HSTS_PRELOAD = env.boolean("HSTS_PRELOAD", default=False)
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if SECURE_SSL_REDIRECT else None
# Requests of a web process that are worked on at once; each thread keeps a database connection.
AUTOPILOT_WEB_THREADS = env.integer("WEB_THREADS", default=8)
DATA_UPLOAD_MAX_MEMORY_SIZE = env.integer("MAX_REQUEST_BYTES", default=8 * 1024 * 1024)

# How many proxies of our own stand in front and append to X-Forwarded-For; 0 ignores the header.
AUTOPILOT_TRUSTED_PROXIES = env.integer("AUTOPILOT_TRUSTED_PROXIES", default=0, minimum=0)
# So many wrong passwords for a name from an address within the window lock that pair out.
AUTOPILOT_LOGIN_ATTEMPTS = env.integer("AUTOPILOT_LOGIN_ATTEMPTS", default=5)
AUTOPILOT_LOGIN_WINDOW_SECONDS = env.integer("AUTOPILOT_LOGIN_WINDOW_SECONDS", default=900)

# Content-Security-Policy: the first prefix that fits decides. Nothing comes from another host.
_SELF_ONLY = {
    "default-src": [SELF],
    "script-src": [SELF],
    "style-src": [SELF],
    "img-src": [SELF, "data:"],
    "font-src": [SELF],
    "connect-src": [SELF],
    "object-src": [NONE],
    "base-uri": [NONE],
    "form-action": [SELF],
    "frame-ancestors": [NONE],
}
# Unfold colours its theme by <style> and style="", and Alpine compiles the expressions in its
# attributes with the Function constructor; scripts inside the page stay forbidden.
_CONSOLE = _SELF_ONLY | {
    "script-src": [SELF, UNSAFE_EVAL],
    "style-src": [SELF, UNSAFE_INLINE],
}
_DOCS = _SELF_ONLY | {"style-src": [SELF, UNSAFE_INLINE]}
_REDOC = _DOCS | {"worker-src": [SELF, "blob:"]}
_DATA = {"default-src": [NONE], "frame-ancestors": [NONE]}
CONTENT_SECURITY_POLICIES = [
    ("/api/docs", _DOCS),
    ("/api/redoc", _REDOC),
    ("/api/", _DATA),
    ("/admin/", _CONSOLE),
    ("/", _SELF_ONLY),
]

# Without a host, mail is written to the process's output instead of being sent.
EMAIL_HOST = env.text("EMAIL_HOST")
EMAIL_BACKEND = f"django.core.mail.backends.{'smtp' if EMAIL_HOST else 'console'}.EmailBackend"
EMAIL_PORT = env.integer("EMAIL_PORT", default=587)
EMAIL_HOST_USER = env.text("EMAIL_HOST_USER")
EMAIL_HOST_PASSWORD = env.text("EMAIL_HOST_PASSWORD")
# Port 465 speaks TLS from the first byte, which excludes changing to it later.
EMAIL_USE_SSL = EMAIL_PORT == 465
EMAIL_USE_TLS = env.boolean("EMAIL_USE_TLS", default=True) and not EMAIL_USE_SSL
EMAIL_TIMEOUT = 30
DEFAULT_FROM_EMAIL = env.text("DEFAULT_FROM_EMAIL", "autopilot@localhost")

# Where people and systems reach this installation: links in mails and addresses that actions hand
# out begin with it.
AUTOPILOT_PUBLIC_URL = env.text("AUTOPILOT_PUBLIC_URL", "http://localhost:8000").rstrip("/")
# Mails to those whose approval is asked. Without a mail server they would end in a log, and the
# links in them are not for whoever reads that.
AUTOPILOT_APPROVAL_MAILS = env.boolean("AUTOPILOT_APPROVAL_MAILS", default=bool(EMAIL_HOST))
AUTOPILOT_APPROVAL_LINKS = env.one_of(
    "AUTOPILOT_APPROVAL_LINKS", ["open", "login", "off"], default="open"
)
AUTOPILOT_APPROVAL_LINK_HOURS = env.integer("AUTOPILOT_APPROVAL_LINK_HOURS", default=72)

LOGGING = logging_config(debug=DEBUG, level=env.text("LOG_LEVEL", "INFO").upper())

# The engine's bounds and rhythms; sizes in bytes, times in seconds.
AUTOPILOT: dict[str, Any] = {
    "MAX_INPUT_BYTES": env.integer("AUTOPILOT_MAX_INPUT_BYTES", default=1024 * 1024),
    "MAX_OUTPUT_BYTES": env.integer("AUTOPILOT_MAX_OUTPUT_BYTES", default=256 * 1024),
    "MAX_JOINED_BYTES": env.integer("AUTOPILOT_MAX_JOINED_BYTES", default=16 * 1024 * 1024),
    "MAX_DEPTH": env.integer("AUTOPILOT_MAX_DEPTH", default=25),
    "MAX_STEPS": env.integer("AUTOPILOT_MAX_STEPS", default=10_000),
    "LEASE_SECONDS": env.number("AUTOPILOT_LEASE_SECONDS", default=30.0),
    "HEARTBEAT_SECONDS": env.number("AUTOPILOT_HEARTBEAT_SECONDS", default=5.0),
    "CLOCK_SECONDS": env.number("AUTOPILOT_CLOCK_SECONDS", default=0.5),
    "SLOTS": env.integer("AUTOPILOT_SLOTS", default=200),
    "SYNC_THREADS": env.integer("AUTOPILOT_SYNC_THREADS", default=16),
    "DRAIN_SECONDS": env.number("AUTOPILOT_DRAIN_SECONDS", default=120.0),
    "LINGER_SECONDS": env.number("AUTOPILOT_LINGER_SECONDS", default=2.0),
    "GRACE_SECONDS": env.number("AUTOPILOT_GRACE_SECONDS", default=10.0),
    "STEP_TIMEOUT_SECONDS": env.number("AUTOPILOT_STEP_TIMEOUT_SECONDS", default=300.0),
    # How long a signal that nobody waits for is kept.
    "SIGNAL_KEEP_DAYS": env.number("AUTOPILOT_SIGNAL_KEEP_DAYS", default=7.0),
    # What HTTP actions reach besides public addresses: names, addresses, networks, host:port.
    "HTTP_ALLOW": env.words("AUTOPILOT_HTTP_ALLOW", default=[]),
}
