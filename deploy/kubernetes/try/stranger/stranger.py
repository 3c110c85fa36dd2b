"""A pod without labels that a policy admits: it says what can be reached from where it runs.

usage: stranger.py wait
       stranger.py reach HOST PORT      prints "open", "closed", or "unknown": no such name
       stranger.py call URL             prints the status; the token is read from standard input
"""

import signal
import socket
import sys
import urllib.error
import urllib.request

PATIENCE = 3


def reach(host, port):
    try:
        socket.create_connection((host, int(port)), PATIENCE).close()
    except socket.gaierror:
        # A name that is not found says nothing of what would be let through.
        return "unknown"
    except OSError:
        return "closed"
    return "open"


def call(url):
    headers = {}
    if token := sys.stdin.read().strip():
        headers["Authorization"] = f"Bearer {token}"
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10) as a:
            return a.status
    except urllib.error.HTTPError as answer:
        return answer.code


match sys.argv[1:]:
    case ["wait"]:
        signal.pause()
    case ["reach", host, port]:
        print(reach(host, port))
    case ["call", url]:
        print(call(url))
    case _:
        sys.exit(__doc__)
