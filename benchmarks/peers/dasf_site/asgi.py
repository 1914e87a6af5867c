"""The site's entrance for daphne."""

from django.core.asgi import get_asgi_application

http = get_asgi_application()  # first: what follows needs the applications loaded

from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402 - after Django has been set up
from dasf_broker import routing  # noqa: E402 - after Django has been set up
from dasf_broker.token_auth_middleware import TokenAuthMiddlewareStack  # noqa: E402 - after Django has been set up

urlpatterns = []
application = ProtocolTypeRouter(
    {"http": http, "websocket": TokenAuthMiddlewareStack(URLRouter(routing.websocket_urlpatterns))}
)
