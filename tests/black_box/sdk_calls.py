"""The SDKs of OpenAI and Anthropic ask a model that thinks for longer than a minute, through
keyward: with an answer that begins late, with a stream that pauses, and with an answer in one
piece. The route sets one line for it. Each SDK puts its key where it always does; the model never
sees one, and is asked once. A stand-in answers in the place of a model.

usage: sdk_calls.py KEYWARD [--all] [WORD …]
"""

import concurrent.futures
import http.server
import json
import sys
import threading
import time

import anthropic
import openai

from running_servers import Certificates, Route, Upstream, folder, front, run

# Longer than the default of `response_head` and any limit of silence.
THINKS = 61
WORDS = ("Not ", "all ", "who ", "wander.")


class Model(http.server.BaseHTTPRequestHandler):
    """Answers as the model that is asked for: `late` thinks before it says anything, `pausing`
    within its answer, `quick` not at all.
    """

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((asked["model"], sorted(name.lower() for name in self.headers)))
        if asked["model"].startswith("late"):
            time.sleep(THINKS)
        is_openai = self.path.endswith("/chat/completions")
        events = openai_events() if is_openai else anthropic_events()
        if asked.get("stream"):
            self.stream(events, asked["model"].startswith("pausing"))
        else:
            self.whole(OPENAI_ANSWER if is_openai else ANTHROPIC_ANSWER)

    def whole(self, answer):
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def stream(self, events, is_pausing):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        events = list(events)
        for at, event in enumerate(events):
            if is_pausing and at == len(events) // 2:
                time.sleep(THINKS)
            self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")


def openai_events():
    chunk = {"id": "c-1", "object": "chat.completion.chunk", "created": 1, "model": "stand-in"}
    for word in WORDS:
        choice = {"index": 0, "delta": {"content": word}, "finish_reason": None}
        yield b"data: " + json.dumps({**chunk, "choices": [choice]}).encode() + b"\n\n"
    choice = {"index": 0, "delta": {}, "finish_reason": "stop"}
    yield b"data: " + json.dumps({**chunk, "choices": [choice]}).encode() + b"\n\n"
    yield b"data: [DONE]\n\n"


OPENAI_ANSWER = {
    "id": "c-1",
    "object": "chat.completion",
    "created": 1,
    "model": "stand-in",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "".join(WORDS)},
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 1, "completion_tokens": 4, "total_tokens": 5},
}


def anthropic_events():
    begin = {**ANTHROPIC_ANSWER, "content": [], "stop_reason": None}
    events = [{"type": "message_start", "message": begin}]
    block = {"type": "text", "text": ""}
    events.append({"type": "content_block_start", "index": 0, "content_block": block})
    for word in WORDS:
        delta = {"type": "text_delta", "text": word}
        events.append({"type": "content_block_delta", "index": 0, "delta": delta})
    events.append({"type": "content_block_stop", "index": 0})
    end = {"stop_reason": "end_turn", "stop_sequence": None}
    events.append({"type": "message_delta", "delta": end, "usage": {"output_tokens": 4}})
    events.append({"type": "message_stop"})
    for event in events:
        yield f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()


ANTHROPIC_ANSWER = {
    "id": "m-1",
    "type": "message",
    "role": "assistant",
    "model": "stand-in",
    "content": [{"type": "text", "text": "".join(WORDS)}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 1, "output_tokens": 4},
}


class StandIn(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Model)
        # (model, names of the header fields) of each request.
        self.asked = []

    def __enter__(self):
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


MESSAGES = [{"role": "user", "content": "Finish the line."}]


class Checks:
    def __init__(self, program, room):
        self.model = StandIn()
        upstream = Upstream("model", f"http://127.0.0.1:{self.model.server_address[1]}")
        route = Route(
            "/v1/",
            "model",
            further='timeouts.response_head = "5m"\ncredentials.headers = ["X-Api-Key"]',
        )
        self.front = front(program, Certificates(room), [upstream], [route])

    def __enter__(self):
        self.model.__enter__()
        self.front.__enter__()
        self.key, _ = self.front.token()
        return self

    def __exit__(self, *_):
        self.front.__exit__()
        self.model.__exit__()

    def ask_openai(self, model, key=None):
        client = openai.OpenAI(base_url=self.front.origin + "/v1", api_key=key or self.key)
        with client:
            if model.startswith("late-whole"):
                answer = client.chat.completions.create(model=model, messages=MESSAGES)
                return answer.choices[0].message.content
            pieces = client.chat.completions.create(model=model, messages=MESSAGES, stream=True)
            return "".join(piece.choices[0].delta.content or "" for piece in pieces)

    def ask_anthropic(self, model, key=None):
        # It must find no other key in the environment, and no proxy.
        client = anthropic.Anthropic(base_url=self.front.origin, api_key=key or self.key)
        with client:
            if model.startswith("late-whole"):
                # The SDK wants a limit of its own, where an answer in one piece may take long.
                answer = client.messages.create(
                    model=model, max_tokens=10, messages=MESSAGES, timeout=300
                )
                return answer.content[0].text
            with client.messages.stream(model=model, max_tokens=10, messages=MESSAGES) as stream:
                return "".join(stream.text_stream)

    def thinks(self):
        """SDKs get the answer of a model that thinks for a minute, once, and it never sees a key."""
        # All at once, as each waits.
        asks = [
            (ask, f"{model}-{name}")
            for name, ask in (("openai", self.ask_openai), ("anthropic", self.ask_anthropic))
            for model in ("late", "late-whole", "pausing", "quick")
        ]
        with concurrent.futures.ThreadPoolExecutor(len(asks)) as pool:
            answers = {model: pool.submit(ask, model) for ask, model in asks}
        for model, answer in answers.items():
            assert answer.result() == "".join(WORDS), (model, answer.result())
        asked = sorted(model for model, _ in self.model.asked)
        assert asked == sorted(answers), f"a model was asked again: {asked}"
        for model, names in self.model.asked:
            assert not {"authorization", "x-api-key"} & set(names), (model, names)
            assert "x-keyward-subject" in names, (model, names)

    def refuses(self):
        """The SDKs know a refusal as one, and do not ask again."""
        before = len(self.model.asked)
        for ask, refusal in (
            (self.ask_openai, openai.AuthenticationError),
            (self.ask_anthropic, anthropic.AuthenticationError),
        ):
            try:
                ask("quick", key=self.key[:-1])
            except refusal:
                continue
            raise AssertionError(f"no {refusal.__name__}")
        assert len(self.model.asked) == before, "the model was asked"

    def all(self):
        return (self.thinks, self.refuses)


def main():
    with folder() as room, Checks(sys.argv[1], room) as checks:
        run(checks.all(), 180, lambda: checks.front)


if __name__ == "__main__":
    main()
