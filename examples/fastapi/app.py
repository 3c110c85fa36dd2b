"""Reads the identity headers of keyward, with FastAPI.

They are true only if nothing but keyward can connect. So this listens on 127.0.0.1, with keyward on
the same machine or in the same pod. Elsewhere a network policy or a firewall must see to it:
README.md, "Let nothing come past keyward".
"""

import logging
import os
import re
from typing import Annotated
from urllib.parse import unquote

import uvicorn
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import PlainTextResponse

# What keyward writes: visible ASCII, with the space, % and all else as %XX of their UTF-8. No byte
# is above 127, so it is no matter that Starlette reads header fields as Latin-1.
WRITTEN = re.compile(r"([!-$&-~]|%[0-9A-Fa-f]{2})*")
log = logging.getLogger(__name__)
app = FastAPI(default_response_class=PlainTextResponse)


def one(request, name):
    """The value of a field that keyward sends once or, if the token does not say it, not at all."""
    values = request.headers.getlist(name)
    try:
        if len(values) > 1 or not all(map(WRITTEN.fullmatch, values)):
            raise ValueError  # of two values, none is guessed to be right
        # An empty one is none. unquote_plus changes "+".
        return (unquote(values[0], errors="strict") if values else None) or None
    except ValueError:
        raise HTTPException(500, f"{name} is not as keyward sends it") from None


async def identify(request: Request):
    names = ("Subject", "Username", "Organization", "Role")
    identity = {name: one(request, f"X-Keyward-{name}") for name in names}
    # The id leads to keyward's access log. %a escapes what a subject may hold.
    log.info("request_id=%s subject=%a", one(request, "X-Request-Id"), identity["Subject"])
    return identity


Identity = Annotated[dict, Depends(identify)]


async def need_caller(identity: Identity):
    if identity["Subject"] is None:  # keyward has a public route that leads here
        raise HTTPException(401, "this needs a caller", {"WWW-Authenticate": "Bearer"})
    return identity


Caller = Annotated[dict, Depends(need_caller)]


def described(identity):
    return "".join(f"{name}: {value}\n" for name, value in identity.items() if value is not None)


@app.get("/whoami")
async def whoami(caller: Caller):
    return described(caller)


@app.get("/public/whoami")
async def public_whoami(identity: Identity):
    return described(identity) or "nobody\n"


@app.get("/admin/report")
async def report(caller: Caller):
    if caller["Role"] != "admin":
        raise HTTPException(403, "this needs the role admin")
    return f"a report for {caller['Subject']}\n"


@app.post("/notes")
async def note(request: Request, caller: Caller):
    return f"{caller['Subject']} wrote: {(await request.body()).decode(errors='replace')}\n"


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ.get("PORT", "3000")))
