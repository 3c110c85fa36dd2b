"""Reads the identity headers of keyward, with Django under WSGI.

They are true only if nothing but keyward can connect. So gunicorn is told to --bind 127.0.0.1 (with
PORT set, its default is all addresses), with keyward on the same machine or in the same pod.
Elsewhere a network policy or a firewall must see to it: README.md, "Let nothing come past keyward".
"""

import logging
import re
from functools import wraps
from urllib.parse import unquote

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import path

# What keyward writes: visible ASCII, with the space, % and all else as %XX of their UTF-8; so it is
# no matter that WSGI reads header fields as Latin-1. WSGI joins two fields of one name by a comma:
# here a comma (in a subject such as "cn=a,dc=b") is refused, as it may be two.
WRITTEN = re.compile(r"([!-$&-+\--~]|%[0-9A-Fa-f]{2})*")
log = logging.getLogger(__name__)


def one(request, name):
    """The value of a field that keyward sends once or, if the token does not say it, not at all."""
    # X_Keyward_Subject has the same key: keyward removes every spelling of its names.
    value = request.META.get("HTTP_" + name.upper().replace("-", "_"), "")
    if not WRITTEN.fullmatch(value):
        raise ValueError(f"{name} is not as keyward sends it")
    try:
        return unquote(value, errors="strict") or None  # unquote_plus changes "+"
    except UnicodeDecodeError:
        raise ValueError(f"{name} is not as keyward sends it") from None


def text(body, status=200, **fields):
    return HttpResponse(body, status=status, content_type="text/plain; charset=utf-8", **fields)


def identify(respond):
    def middleware(request):
        names = ("Subject", "Username", "Organization", "Role")
        try:
            request.caller = {name: one(request, f"X-Keyward-{name}") for name in names}
            request_id = one(request, "X-Request-Id")
        except ValueError as fault:  # of two values, none is guessed to be right
            return text(f"{fault}\n", 500)
        if "HTTP_TRANSFER_ENCODING" in request.META:  # of which Django would read nothing
            return text("say the length of the body\n", 411)
        # The id leads to keyward's access log. %a escapes what a subject may hold.
        log.info("request_id=%s subject=%a", request_id, request.caller["Subject"])
        return respond(request)

    return middleware


def needs_caller(view):
    """Asked where the page is made: a path can have been made of another one on the way."""

    @wraps(view)
    def asked(request):
        if request.caller["Subject"] is None:  # keyward has a public route that leads here
            return text("this needs a caller\n", 401, headers={"WWW-Authenticate": "Bearer"})
        return view(request)

    return asked


def public_whoami(request):
    said = ((name, value) for name, value in request.caller.items() if value is not None)
    return text("".join(f"{name}: {value}\n" for name, value in said) or "nobody\n")


@needs_caller
def report(request):
    if request.caller["Role"] != "admin":
        return text("this needs the role admin\n", 403)
    return text(f"a report for {request.caller['Subject']}\n")


@needs_caller
def note(request):
    return text(f"{request.caller['Subject']} wrote: {request.body.decode(errors='replace')}\n")


urlpatterns = [
    path("whoami", needs_caller(public_whoami)),
    path("public/whoami", public_whoami),
    path("admin/report", report),
    path("notes", note),
]
settings.configure(
    ALLOWED_HOSTS=["127.0.0.1", "localhost"],  # as clients name it: keyward passes Host on
    LOGGING_CONFIG=None,  # as below
    MIDDLEWARE=[f"{__name__}.identify"],
    ROOT_URLCONF=__name__,
)
logging.basicConfig(level=logging.INFO)
application = get_wsgi_application()
