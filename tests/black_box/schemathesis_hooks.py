"""What schemathesis cannot know from the document: who calls, from where, and that a date must be in the future."""

import os
import re
import secrets

import schemathesis
from hypothesis import strategies

from running_keyward import access_token, call

ORIGIN = os.environ["KEYWARD_ORIGIN"]
PAST = re.compile(r"20\d\d-\d\d-\d\dT")


class Bearer:
    def set(self, case, token, context):
        case.headers = case.headers or {}
        case.headers["Authorization"] = f"Bearer {token}"


@schemathesis.auth(refresh_interval=None).apply_to(path_regex="^/jarvispy/")
class FreshKey(Bearer):
    """A key of its own for every call: two of the calls revoke it."""

    def get(self, case, context):
        issue = ORIGIN + "/jarvispy/acme/alice/api/v1/auth/issue-token"
        return call(issue, "POST", os.environ["KEYWARD_BOOTSTRAP"])["data"]["token"]


@schemathesis.auth().apply_to(path_regex="^/api/(?!v1/tickets|agent-tokens/tickets)")
class AccessToken(Bearer):
    def get(self, case, context):
        return access_token()


@schemathesis.auth(refresh_interval=None).apply_to(path_regex="^/api/v1/tickets")
class TenantKey(Bearer):
    def get(self, case, context):
        key = {"name": "for tickets", "expiry_date": "2999-12-31T23:59:59Z"}
        return call(ORIGIN + "/api/v1/active/tokens/", "POST", access_token(), key)["token"]


@schemathesis.auth(refresh_interval=None).apply_to(path_regex="^/api/agent-tokens/tickets")
class AgentKey(Bearer):
    def get(self, case, context):
        return call(ORIGIN + "/api/agent-tokens/me", "POST", access_token())["token"]


@schemathesis.auth().apply_to(path_regex="^/v1/auth/api-keys")
class Session(Bearer):
    def get(self, case, context):
        username, password = "u" + secrets.token_hex(8), secrets.token_hex(16)
        person = {"username": username, "password": password, "email": f"{username}@example.com", "full_name": "A Tester"}
        call(ORIGIN + "/v1/auth/register", "POST", body=person)
        login = {"username": username, "password": password}
        return call(ORIGIN + "/v1/auth/login", "POST", body=login)["access_token"]


@schemathesis.auth(refresh_interval=None).apply_to(path_regex="^/v1/auth/tickets")
class AccountKey(Session):
    def get(self, case, context):
        session = super().get(case, context)
        return call(ORIGIN + "/v1/auth/api-keys", "POST", session, {"name": "tickets"})["raw_key"]


@schemathesis.hook
def before_call(context, case, **_):
    """Registrations and failed logins are counted by address: each call comes from one of its own."""
    case.headers = case.headers or {}
    if isinstance(case.body, dict) and PAST.match(str(case.body.get("expiry_date"))):
        # It takes dates from answers, too.
        case.body["expiry_date"] = "29" + case.body["expiry_date"][2:]
    case.headers["X-Forwarded-For"] = "10." + ".".join(str(secrets.randbelow(256)) for _ in range(3))


schemathesis.openapi.format(
    "date-time",
    strategies.builds(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}{}".format,
        strategies.integers(2100, 9998),
        strategies.integers(1, 12),
        strategies.integers(1, 28),
        strategies.integers(0, 23),
        strategies.integers(0, 59),
        strategies.integers(0, 59),
        strategies.sampled_from(["Z", "+00:00", "-05:30", ".5Z", ".123456+14:00"]),
    ),
)
