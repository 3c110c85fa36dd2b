"""What a WebSocket client can send, right and wrong: a table after groups 1 to 7, 9 and 10 of the
Autobahn test suite: messages, pings, reserved bits, opcodes, fragments, UTF-8, closing, limits. The
suite itself needs Python 2.7; autobahn.py runs it where there is one.

Each case is a name and the pieces that are sent one after the other. A right one ends with a Close
frame, which the server answers. On a wrong one the server closes.
"""

import random

MASK = b"\x11\x22\x33\x44"
TEXT, BINARY, CLOSE, PING, PONG, MORE = 1, 2, 8, 9, 10, 0


def frame(opcode, payload=b"", fin=True, reserved=0, mask=MASK):
    """RFC 6455, 5.2."""
    length = len(payload)
    head = bytes([fin << 7 | reserved << 4 | opcode])
    marked = 0x80 if mask else 0
    if length < 126:
        head += bytes([marked | length])
    elif length < 1 << 16:
        head += bytes([marked | 126]) + length.to_bytes(2, "big")
    else:
        head += bytes([marked | 127]) + length.to_bytes(8, "big")
    if not mask:
        return head + payload
    key = int.from_bytes((mask * (length // 4 + 1))[:length], "big")
    return head + mask + (int.from_bytes(payload, "big") ^ key).to_bytes(length, "big")


def close(code=1000, reason=b""):
    return frame(CLOSE, b"" if code is None else code.to_bytes(2, "big") + reason)


def chopped(data, size):
    return [data[at : at + size] for at in range(0, len(data), size)]


def fragments(opcode, payload, size):
    """One message as frames of this size."""
    parts = chopped(payload, size)
    return [
        frame(opcode if number == 0 else MORE, part, number == len(parts) - 1)
        for number, part in enumerate(parts)
    ]


GOOD_TEXTS = [
    "Hello-µ@ßöäüàá-UTF-8!!".encode(),
    "κόσμε".encode(),
    b"\x00",
    "\u0080\u07ff\u0800\uffff".encode(),
    "\U00010000\U0010ffff".encode(),
    "\ud7ff\ue000\ufffd\ufdd0\ufffe".encode(),
]
BAD_TEXTS = [
    bytes.fromhex(text)
    for text in (
        "cebae1bdb9cf83cebcceb5eda080656469746564",
        "cebae1bdb9cf83cebcceb5f4908080656469746564",
        "ce",
        "cebae1",
        "f888808080",
        "fc8480808080",
        "f7bfbfbf",
        "fbbfbfbfbf",
        "f4908080",
        "80",
        "bf",
        "80bf80bf",
        "c0af",
        "e080af",
        "f08080af",
        "f8808080af",
        "c1bf",
        "e09fbf",
        "f08fbfbf",
        "c080",
        "e08080",
        "eda080",
        "edafbf",
        "edb080",
        "edbfbf",
        "eda080edb080",
        "fe",
        "ff",
        "fefeffff",
        "c020c120",
        "e020e120",
        "c0",
        "e080",
        "f08080",
    )
]


def cases():
    """(name, pieces, whether it is right)."""
    ends = [close()]
    for name, opcode in (("text", TEXT), ("binary", BINARY)):
        for size in (0, 1, 125, 126, 127, 128, 65535, 65536):
            yield f"1 {name} of {size}", [frame(opcode, b"*" * size)] + ends, True
        for size in (1, 997):
            yield (
                f"1 {name} of 4000, {size} bytes at a time",
                chopped(frame(opcode, b"*" * 4000), size) + ends,
                True,
            )
    for name, payload in (
        ("nothing", b""),
        ("text", b"Hello"),
        ("bytes", b"\x00\xff\xfe\xfd"),
        ("125 bytes", b"\xfe" * 125),
    ):
        yield f"2 ping of {name}", [frame(PING, payload)] + ends, True
        yield f"2 pong of {name}", [frame(PONG, payload), frame(PING, b"p")] + ends, True
    yield "2 ping of 126 bytes", [frame(PING, b"\xfe" * 126)], False
    yield "2 ping of 125 bytes, byte by byte", chopped(frame(PING, b"\xfe" * 125), 1) + ends, True
    pings = b"".join(frame(PING, b"payload-%d" % number) for number in range(10))
    yield "2 ten pings", [pings] + ends, True
    yield "2 ten pings, byte by byte", chopped(pings, 1) + ends, True
    for reserved in range(1, 8):
        yield f"3 text with RSV {reserved}", [frame(TEXT, b"Hello", reserved=reserved)], False
        yield (
            f"3 text, then text with RSV {reserved} and a ping",
            [frame(TEXT, b"a") + frame(TEXT, b"Hello", reserved=reserved) + frame(PING)],
            False,
        )
        yield f"3 ping with RSV {reserved}", [frame(PING, b"Hello", reserved=reserved)], False
        yield f"3 close with RSV {reserved}", [frame(CLOSE, b"\x03\xe8", reserved=reserved)], False
    for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15):
        yield f"4 opcode {opcode}", [frame(opcode)], False
        yield (
            f"4 opcode {opcode} with a payload, after text",
            [frame(TEXT, b"a"), frame(opcode, b"payload"), frame(PING)],
            False,
        )
    for name, control in (("ping", PING), ("pong", PONG), ("close", CLOSE)):
        yield (
            f"5 {name} in two fragments",
            [frame(control, b"a", fin=False) + frame(MORE, b"b")],
            False,
        )
    two = fragments(TEXT, b"fragment1fragment2", 9)
    yield "5 text in two fragments", two + ends, True
    yield (
        "5 text in two fragments, a ping between",
        [two[0], frame(PING, b"ping"), two[1]] + ends,
        True,
    )
    yield (
        "5 text in two fragments, a ping between, in one piece",
        [two[0] + frame(PING, b"ping") + two[1]] + ends,
        True,
    )
    yield (
        "5 text in two fragments, a ping between, byte by byte",
        chopped(two[0] + frame(PING, b"ping") + two[1], 1) + ends,
        True,
    )
    yield (
        "5 text in five fragments, pings between",
        [b"".join(part + frame(PING, b"x") for part in fragments(TEXT, b"abcde", 1))] + ends,
        True,
    )
    yield (
        "5 empty fragments",
        [frame(TEXT, b"", fin=False) + frame(MORE, b"", fin=False) + frame(MORE)] + ends,
        True,
    )
    yield (
        "5 an empty fragment, then one with text",
        [frame(TEXT, b"", fin=False) + frame(MORE, b"middle", fin=False) + frame(MORE)] + ends,
        True,
    )
    for fin in (True, False):
        yield (
            f"5 a continuation of nothing, FIN {fin}",
            [frame(MORE, b"a", fin=fin), frame(TEXT, b"Hello")],
            False,
        )
        yield (
            f"5 a continuation after a whole message, FIN {fin}",
            [frame(TEXT, b"a"), frame(MORE, b"b", fin=fin), frame(TEXT, b"c")],
            False,
        )
    yield (
        "5 text within an unfinished text",
        [frame(TEXT, b"a", fin=False), frame(TEXT, b"b")],
        False,
    )
    for number, text in enumerate(GOOD_TEXTS):
        yield f"6 right text {number}", [frame(TEXT, text)] + ends, True
        yield f"6 right text {number}, a byte a fragment", fragments(TEXT, text, 1) + ends, True
        yield f"6 right text {number}, byte by byte", chopped(frame(TEXT, text), 1) + ends, True
    for number, text in enumerate(BAD_TEXTS):
        yield f"6 wrong text {number}", [frame(TEXT, text)], False
        yield (
            f"6 wrong text {number}, a byte a fragment",
            [b"".join(fragments(TEXT, text, 1))],
            False,
        )
    yield "7 close", ends, True
    yield "7 close twice", [close() + close()], True
    yield "7 ping after close", [close() + frame(PING)], True
    yield "7 text after close", [close() + frame(TEXT, b"a")], True
    yield "7 close within a message", [frame(TEXT, b"a", fin=False)] + ends, True
    yield (
        "7 close after 256 KiB of text",
        [frame(TEXT, b"B" * (256 << 10)), frame(TEXT, b"a")] + ends,
        True,
    )
    yield "7 close without a code", [close(None)], True
    yield "7 close with half a code", [frame(CLOSE, b"a")], False
    yield "7 close with a reason", [close(1000, b"Hello World!")], True
    yield "7 close with a reason of 123 bytes", [close(1000, b"*" * 123)], True
    yield "7 close with a reason of 124 bytes", [close(1000, b"*" * 124)], False
    yield "7 close with a reason that is no text", [close(1000, BAD_TEXTS[0])], False
    for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999):
        yield f"7 close with {code}", [close(code)], True
    for code in (0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999, 5000, 65535):
        yield f"7 close with {code}", [close(code)], False
    yield "7 an unmasked frame", [frame(TEXT, b"Hello", mask=None)], False
    large = random.Random(9).randbytes(1 << 20)
    for size in (64 << 10, 256 << 10, 1 << 20, 4 << 20):
        yield f"9 text of {size >> 10} KiB", [frame(TEXT, b"*" * size)] + ends, True
        yield f"9 binary of {size >> 10} KiB", [frame(BINARY, (large * 4)[:size])] + ends, True
    for size in (1 << 10, 16 << 10, 64 << 10):
        yield (
            f"9 1 MiB in fragments of {size >> 10} KiB",
            [b"".join(fragments(BINARY, large, size))] + ends,
            True,
        )
    yield (
        "9 256 KiB, 512 bytes at a time",
        chopped(frame(BINARY, large[: 256 << 10]), 512) + ends,
        True,
    )
    yield (
        "9 500 messages of 100 bytes",
        [frame(TEXT, b"%0100d" % number) for number in range(500)] + ends,
        True,
    )
    yield "10 64 KiB in fragments of 1300 bytes", fragments(TEXT, b"*" * 65536, 1300) + ends, True


def read(data):
    """What a server sent: its messages, control frames and what is left over, with fragments put
    together.
    """
    seen, message, at = [], None, 0
    while len(data) - at >= 2:
        first, length, begin = data[at], data[at + 1] & 0x7F, at + 2
        for marker, width in ((126, 2), (127, 8)):
            if length == marker:
                length, begin = int.from_bytes(data[begin : begin + width], "big"), begin + width
                break
        if data[at + 1] & 0x80 or begin + length > len(data):
            break
        payload, at = data[begin : begin + length], begin + length
        opcode = first & 0x0F
        if opcode in (CLOSE, PING, PONG):
            seen.append((opcode, payload))
        else:
            message = (opcode, payload) if opcode != MORE else (message[0], message[1] + payload)
            if first & 0x80:
                seen.append(message)
    return seen, data[at:]
