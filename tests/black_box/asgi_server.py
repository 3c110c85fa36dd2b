"""An ASGI application for uvicorn and hypercorn: what it is asked is what it answers."""

import hashlib
import json

from echo_server import LARGE


async def application(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    length, digest = 0, hashlib.sha256()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        digest.update(message.get("body", b""))
        length += len(message.get("body", b""))
        if not message.get("more_body"):
            break
    kind = scope["path"].rsplit("/", 1)[-1]
    start = {"type": "http.response.start", "status": 200, "headers": []}
    if kind == "nothing":
        await send(start | {"status": 204})
        return await send({"type": "http.response.body"})
    if kind == "chunked":
        trailers = "http.response.trailers" in scope.get("extensions", {})
        await send(
            start | {"headers": [(b"trailer", b"x-sum")] if trailers else [], "trailers": trailers}
        )
        for number in range(100):
            await send(
                {"type": "http.response.body", "body": b"%d " % number * 100, "more_body": True}
            )
        await send({"type": "http.response.body"})
        if trailers:
            await send(
                {
                    "type": "http.response.trailers",
                    "headers": [(b"x-sum", b"4950")],
                    "more_trailers": False,
                }
            )
        return None
    data = LARGE
    if kind != "large":
        fields = [
            [name.decode("latin-1"), value.decode("latin-1")] for name, value in scope["headers"]
        ]
        seen = {
            "method": scope["method"],
            "path": scope["path"],
            "fields": fields,
            "length": length,
            "sha256": digest.hexdigest(),
        }
        data = json.dumps(seen | {"version": scope["http_version"]}).encode()
    await send(start | {"headers": [(b"content-length", b"%d" % len(data))]})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else data})
