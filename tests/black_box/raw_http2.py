"""One HTTP/2 connection, frame by frame, by the library h2: for what real clients do not show, such
as how a stream ended.
"""

import socket
import time

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings

from running_keyward import PATIENCE


class Stream:
    """What came on a stream so far."""

    def __init__(self):
        self.status = None
        self.fields = {}
        # The fields came with END_STREAM.
        self.fields_ended_it = False
        self.data = bytearray()
        self.trailers = None
        self.ended = False
        self.reset = None

    @property
    def over(self):
        return self.ended or self.reset is not None


class Http2Client:
    def __init__(self, port, context=None, name="localhost"):
        self.socket = socket.create_connection(("127.0.0.1", port), PATIENCE)
        if context is not None:
            self.socket = context.wrap_socket(self.socket, server_hostname=name)
            assert self.socket.selected_alpn_protocol() == "h2", (
                f"ALPN chose {self.socket.selected_alpn_protocol()}"
            )
        self.scheme = "http" if context is None else "https"
        self.authority = f"{name}:{port}"
        # Wrong fields are the server's to refuse.
        config = h2.config.H2Configuration(
            client_side=True,
            header_encoding="utf-8",
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
        )
        self.connection = h2.connection.H2Connection(config)
        self.connection.initiate_connection()
        self.connection.increment_flow_control_window(1 << 24)
        self.streams = {}
        self.settings = None
        self.goaway = None
        self.gone = False
        self.flush()
        self.until("the server's SETTINGS", lambda: self.settings is not None)

    def close(self):
        self.socket.close()

    def flush(self):
        if data := self.connection.data_to_send():
            self.socket.sendall(data)

    def ask(self, method, path, fields=(), ends=True, pseudo=()):
        """The number of a new stream, on which a request's head was sent."""
        number = self.connection.get_next_available_stream_id()
        head = [
            (":method", method),
            (":scheme", self.scheme),
            (":authority", self.authority),
            (":path", path),
            *pseudo,
        ]
        self.streams[number] = Stream()
        self.connection.send_headers(number, [*head, *fields], end_stream=ends)
        self.flush()
        return number

    def send(self, number, data, ends=False):
        """Sends all of it, as the windows open."""
        data = memoryview(data)
        while True:
            room = lambda: min(
                self.connection.local_flow_control_window(number),
                self.connection.max_outbound_frame_size,
            )
            if len(data) and not room():
                self.until("a window to send in", lambda: self.streams[number].over or room())
                if self.streams[number].over:
                    return
            piece, data = data[: room()], data[room() :]
            self.connection.send_data(number, bytes(piece), end_stream=ends and not data)
            self.flush()
            if not data:
                return

    def reset(self, number, code=h2.errors.ErrorCodes.CANCEL):
        self.connection.reset_stream(number, code)
        self.flush()

    def read(self, patience):
        """Takes in what comes within the time."""
        self.socket.settimeout(max(patience, 0.001))
        try:
            data = self.socket.recv(65536)
        except TimeoutError:
            return
        except ConnectionResetError:
            data = b""
        if not data:
            self.gone = True
            return
        for event in self.connection.receive_data(data):
            self.take(event)
        self.flush()

    def take(self, event):
        stream = self.streams.get(getattr(event, "stream_id", None))
        match event:
            case h2.events.RemoteSettingsChanged():
                self.settings = {
                    **(self.settings or {}),
                    **{k: v.new_value for k, v in event.changed_settings.items()},
                }
            case h2.events.ConnectionTerminated():
                self.goaway = event.error_code
            case h2.events.ResponseReceived():
                fields = dict(event.headers)
                stream.status, stream.fields = int(fields.pop(":status")), fields
                stream.fields_ended_it = event.stream_ended is not None
            case h2.events.DataReceived():
                stream.data += event.data
                self.connection.acknowledge_received_data(
                    event.flow_controlled_length, event.stream_id
                )
            case h2.events.TrailersReceived():
                stream.trailers = dict(event.headers)
            case h2.events.StreamEnded():
                stream.ended = True
            case h2.events.StreamReset() if stream is not None:
                stream.reset = event.error_code

    def until(self, what, look, patience=PATIENCE):
        deadline = time.monotonic() + patience
        while not (found := look()):
            left = deadline - time.monotonic()
            assert left > 0, f"waited {patience} s for {what}, which did not come"
            assert not self.gone, f"the connection was closed before {what} (GOAWAY: {self.goaway})"
            self.read(left)
        return found

    def answer(self, number, patience=PATIENCE):
        """The stream, once it is over."""
        self.until(f"the end of stream {number}", lambda: self.streams[number].over, patience)
        return self.streams[number]

    def allows_websocket(self):
        return self.settings.get(h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL) == 1
