"""The examples of the seeds, word by word, by a client that shares nothing with keyward but HTTP: paths, methods, fields and their
order, types, status codes, prefixes, lengths, slashes at the end, messages. On the embedded store and on Redis.

usage: seeds.py KEYWARD
"""

import http.client
import json
import re
import sys
import urllib.parse

from running_keyward import Keyward, Redis, access_token

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
ONCE = "it will not be shown again."


class Client:
    def __init__(self, keyward):
        self.host = urllib.parse.urlsplit(keyward.origin).netloc

    def ask(self, method, path, body=None, expected=200, **fields):
        """The JSON of an answer with this status; None for an empty one."""
        connection = http.client.HTTPConnection(self.host, timeout=30)
        fields = {name.replace("_", "-"): value for name, value in fields.items()}
        if body is not None:
            fields["Content-Type"] = "application/json"
            body = json.dumps(body)
        connection.request(method, path, body, fields)
        answer = connection.getresponse()
        text = answer.read()
        assert answer.status == expected, f"{method} {path}: {answer.status} {text}"
        if expected == 204:
            assert text == b"", text
            return None
        assert answer.headers["Content-Type"] == "application/json", answer.headers["Content-Type"]
        return json.loads(text)


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


def matches(pattern, text):
    assert isinstance(text, str) and re.fullmatch(pattern, text), f"{text!r} is not {pattern}"


def api_tokens(client):
    """Seed 001."""
    body = {"name": "my-api-token", "expiry_date": "2099-12-31T23:59:59Z"}
    user = bearer(access_token())
    for slash in ("/", ""):
        made = client.ask("POST", f"/api/v1/active/tokens{slash}", body, 201, **user)
        assert list(made) == ["id", "name", "expiry_date", "token"], made
        assert {name: made[name] for name in body} == body, made
        matches(r"sk-[0-9A-Za-z]+", made["token"])
        # "Send the sk- token as a bearer credential on every API request"
        key = bearer(made["token"])
        listed = client.ask("GET", f"/api/v1/active/tokens{slash}", **key)
        assert listed == [{name: made[name] for name in ("id", "name", "expiry_date")}], listed
        client.ask("DELETE", f"/api/v1/active/tokens/{made['id']}{slash}", None, 204, **user)
        # "Revoking a token deletes it permanently and immediately invalidates any client still
        # using it."
        refused = client.ask("GET", "/api/v1/active/tokens/", None, 401, **key)
        assert refused == {"detail": "Invalid token"}, refused
        assert client.ask("GET", "/api/v1/active/tokens/", **user) == []
    for wrong in ({**body, "name": ""}, {**body, "name": "x" * 101}, {**body, "expiry_date": "2020-01-01T00:00:00Z"}):
        detail = client.ask("POST", "/api/v1/active/tokens/", wrong, 422, **user)["detail"]
        assert [list(fault) for fault in detail] == [["loc", "msg", "type"]], detail
    for name in ("x", "é" * 100):
        client.ask("POST", "/api/v1/active/tokens/", {**body, "name": name}, 201, **user)


def agent_tokens(client):
    """Seed 002."""
    me, user = "/api/agent-tokens/me", bearer(access_token("an-agents-owner"))
    assert client.ask("GET", me, **user) == {"has_token": False, "token_prefix": None}
    made = client.ask("POST", me + "/get-or-create", **user)
    assert list(made) == ["is_new", "token", "token_prefix", "message"], made
    matches(r"sk_agt_[0-9a-f]{64}", made["token"])
    prefix = made["token"][:15] + "..."
    assert made == {"is_new": True, "token": made["token"], "token_prefix": prefix, "message": f"Token created. Store it securely — {ONCE}"}
    assert client.ask("GET", me, **user) == {"has_token": True, "token_prefix": prefix}
    assert client.ask("POST", me + "/get-or-create", **user) == {
        "is_new": False, "token": None, "token_prefix": prefix,
        "message": "Token already exists. Rotate it from Settings if you need a new one.",
    }
    renewed = client.ask("POST", me, **user)
    assert list(renewed) == ["token", "token_prefix", "message"], renewed
    matches(r"sk_agt_[0-9a-f]{64}", renewed["token"])
    assert renewed["token"] != made["token"] and renewed["token_prefix"] == renewed["token"][:15] + "...", renewed
    assert renewed["message"] == f"Store this token securely — {ONCE}", renewed
    # "Missing or invalid JWT." "Agent tokens cannot be used here."
    for fields in ({}, bearer(renewed["token"]), bearer("x.y.z")):
        for method, path in (("GET", me), ("POST", me), ("DELETE", me), ("POST", me + "/get-or-create")):
            assert list(client.ask(method, path, None, 401, **fields)) == ["error"]
    client.ask("DELETE", me, None, 204, **user)
    assert client.ask("GET", me, **user) == {"has_token": False, "token_prefix": None}


def accounts(client):
    """Seed 003."""
    person = {
        "username": "hershel", "email": "hershel@example.com", "password": "secureP@ss123", "full_name": "Hershel Moshkovitz",
    }
    account = client.ask("POST", "/v1/auth/register", person)
    assert list(account) == ["id", "username", "email", "full_name"], account
    matches(UUID, account["id"])
    assert all(account[name] == person[name] for name in ("username", "email", "full_name")), account
    client.ask("POST", "/v1/auth/register", person, 409)
    login = {name: person[name] for name in ("username", "password")}
    session = client.ask("POST", "/v1/auth/login", login)
    assert list(session) == ["access_token", "token_type"] and session["token_type"] == "bearer", session
    matches(r"eyJ[\w-]+\.[\w-]+\.[\w-]+", session["access_token"])
    unknown = client.ask("POST", "/v1/auth/login", {**login, "username": "nobody"}, 401)
    assert unknown == client.ask("POST", "/v1/auth/login", {**login, "password": "wrongP@ss123"}, 401)
    assert list(unknown) == ["detail"], unknown
    user = bearer(session["access_token"])
    key = client.ask("POST", "/v1/auth/api-keys", {"name": "my-app-key"}, **user)
    assert list(key) == ["id", "name", "raw_key", "prefix", "is_active", "created_at"], key
    matches(UUID, key["id"])
    matches(r"rst_[0-9a-z]{30,}", key["raw_key"])
    matches(MOMENT, key["created_at"])
    assert (key["name"], key["prefix"], key["is_active"]) == ("my-app-key", key["raw_key"][:8], True), key
    entry = {name: key[name] for name in ("id", "name", "prefix", "is_active", "created_at")}
    listed = client.ask("GET", "/v1/auth/api-keys", **user)
    assert listed == [entry] and list(listed[0]) == list(entry), listed
    client.ask("GET", "/v1/auth/api-keys", None, 401, X_API_Key=key["raw_key"])
    for _ in range(2):
        client.ask("DELETE", f"/v1/auth/api-keys/{key['id']}", None, 204, **user)
    assert client.ask("GET", "/v1/auth/api-keys", **user) == [{**entry, "is_active": False}]
    # The bounds of each field, at both ends.
    bounds = {"username": (3, 50, "a"), "password": (8, 128, "p"), "full_name": (1, 200, "n")}
    for name, (least, most, letter) in bounds.items():
        for length, status in ((least - 1, 422), (least, 200), (most, 200), (most + 1, 422)):
            other = {**person, "username": f"{name[:4]}{length}", "email": f"{name[:4]}{length}@example.com", name: letter * length}
            client.ask("POST", "/v1/auth/register", other, status)
    for wrong in ({"username": "a b c"}, {"username": "ab-c"}, {"email": "nobody"}, {"email": "a@b@c.example"}, {"full_name": None}):
        detail = client.ask("POST", "/v1/auth/register", {**person, **wrong}, 422)["detail"]
        assert [fault["loc"] for fault in detail] == [["body", *wrong]], detail


def walk(program, store, redis=None):
    with Keyward(program, redis) as keyward:
        for seed in (api_tokens, agent_tokens, accounts):
            seed(Client(keyward))
            print(f"{seed.__doc__} {store}: as it is written", flush=True)


def main():
    walk(sys.argv[1], "On the embedded store")
    with Redis() as redis:
        walk(sys.argv[1], "On Redis", redis)


if __name__ == "__main__":
    main()
