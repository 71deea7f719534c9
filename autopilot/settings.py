"""Django's settings: everything a deployment may change comes from the environment (see `env.py`)."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from autopilot import env

BASE_DIR = Path(__file__).resolve().parent.parent

DEBUG = env.boolean("DEBUG", default=False)
SECRET_KEY = env.secret_key()
ALLOWED_HOSTS = env.words("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.words("CSRF_TRUSTED_ORIGINS", default=[])

# Apps of the Django team that runs this project stand beside ours.
AUTOPILOT_APPS = env.words("AUTOPILOT_APPS", default=[])

INSTALLED_APPS = [
    "unfold",
    "django.contrib.admin",
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
]

MIDDLEWARE = [
    "autopilot.common.middleware.RequestIdMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
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
LOGIN_URL = "admin:login"

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_I18N = True
USE_TZ = True

STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
STATIC_ROOT = BASE_DIR / "var" / "static"
# Finders serve the apps' own files too, so a clone needs no collectstatic before its first page.
WHITENOISE_USE_FINDERS = True

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "rest_framework_simplejwt.authentication.JWTAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["autopilot.common.api.permissions.DenyByDefault"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["autopilot.common.api.parsers.StrictJSONParser"],
    "DEFAULT_FILTER_BACKENDS": ["django_filters.rest_framework.DjangoFilterBackend"],
    "DEFAULT_PAGINATION_CLASS": "autopilot.common.api.pagination.PageNumberPagination",
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "autopilot.common.api.exceptions.exception_handler",
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
}

SIMPLE_JWT = {
    "ACCESS_TOKEN_LIFETIME": timedelta(minutes=env.integer("JWT_ACCESS_MINUTES", default=30)),
    "REFRESH_TOKEN_LIFETIME": timedelta(days=env.integer("JWT_REFRESH_DAYS", default=7)),
    "ROTATE_REFRESH_TOKENS": True,
    "BLACKLIST_AFTER_ROTATION": True,
    "UPDATE_LAST_LOGIN": True,
}

SPECTACULAR_SETTINGS = {
    "TITLE": "AutopilotCX",
    "DESCRIPTION": "A durable workflow engine that lives in a Django project.",
    "VERSION": "1.0.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "COMPONENT_SPLIT_REQUEST": True,
}

SECURE_CONTENT_TYPE_NOSNIFF = True
X_FRAME_OPTIONS = "DENY"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = env.boolean("HTTPS", default=False)
SECURE_SSL_REDIRECT = env.boolean("HTTPS", default=False)
SECURE_HSTS_SECONDS = 31_536_000 if SECURE_SSL_REDIRECT else 0
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if SECURE_SSL_REDIRECT else None
DATA_UPLOAD_MAX_MEMORY_SIZE = env.integer("MAX_REQUEST_BYTES", default=8 * 1024 * 1024)

# The engine's bounds and rhythms; sizes in bytes, times in seconds.
AUTOPILOT = {
    "MAX_INPUT_BYTES": env.integer("AUTOPILOT_MAX_INPUT_BYTES", default=1024 * 1024),
    "MAX_OUTPUT_BYTES": env.integer("AUTOPILOT_MAX_OUTPUT_BYTES", default=256 * 1024),
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
}
