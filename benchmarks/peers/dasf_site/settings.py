"""The Django site that a DASF broker needs, as small as it may be."""

import os

SECRET_KEY = "only for the benchmark"
ALLOWED_HOSTS = ["127.0.0.1"]
INSTALLED_APPS = [
    "daphne",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "channels",
    "guardian",
    "rest_framework",
    "rest_framework.authtoken",
    "dasf_broker",
]
ROOT_URLCONF = "asgi"
ASGI_APPLICATION = "asgi.application"
DATABASES = {
    "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.path.join(os.environ["DASF_FOLDER"], "db.sqlite3")}
}
AUTHENTICATION_BACKENDS = [
    "django.contrib.auth.backends.ModelBackend",
    "guardian.backends.ObjectPermissionBackend",
]
CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DASF_STORE_MESSAGES = os.environ["DASF_STORE"]
