#!/usr/bin/env python3
"""A small application service and the real server: what a bridge does all day, and what it must not miss when it was gone.

    bridge.py --binary PATH

Needs nothing but Python. The first assertion that fails ends the run with a non-zero status.
"""

import argparse
import http.server
import json
import pathlib
import queue
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

HOST = "127.0.0.1"
SERVER_NAME = "bridged.test"
AS_TOKEN, HS_TOKEN = "what-the-bridge-shows", "what-the-server-shows"
PATIENCE = 20
GHOST, BOT = f"@_irc_ann:{SERVER_NAME}", f"@_irc_bot:{SERVER_NAME}"
ALIAS = f"#_irc_made:{SERVER_NAME}"


class Refused(Exception):
    """The server answered with an error."""

    def __init__(self, status, body):
        super().__init__(f"{status} {body}")
        self.status, self.code = status, body.get("errcode")


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


def quote(text: str) -> str:
    return urllib.parse.quote(text, safe="")


class Bridge:
    """The application service: it can be killed and come back at the same address."""

    def __init__(self, port: int):
        self.port, self.server, self.connections = port, None, []
        self.transactions, self.seen = queue.Queue(), {}
        self.on_user, self.on_alias = lambda user: False, lambda alias: False

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def start(self) -> None:
        bridge = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                bridge.connections.append(self.request)
                super().setup()

            def answer(self, status: int, body: dict) -> None:
                data = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if self.headers.get("Authorization") != f"Bearer {HS_TOKEN}":
                    return self.answer(403, {"errcode": "M_FORBIDDEN"})
                return self.answer(*bridge.take(self.command, urllib.parse.unquote(self.path), body))

            do_GET = do_PUT = do_POST = handle_any

            def log_message(self, *_):
                pass

        class Listener(http.server.ThreadingHTTPServer):
            daemon_threads = allow_reuse_address = True

            def handle_error(self, *_):
                """Whoever is killed, here or there, says no goodbye."""

        self.server = Listener((HOST, self.port), Handler)
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def kill(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.server = None
        for connection in self.connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.connections.clear()

    def take(self, method: str, path: str, body: bytes) -> tuple[int, dict]:
        prefix = "/_matrix/app/v1/"
        if not path.startswith(prefix) or self.server is None:
            return 404, {"errcode": "M_UNRECOGNIZED"}
        what, _, rest = path[len(prefix) :].partition("/")
        if (method, what) == ("PUT", "transactions"):
            self.transactions.put((rest, json.loads(body)))
            return 200, {}
        if (method, what) == ("POST", "ping"):
            return 200, {}
        made = {"users": self.on_user, "rooms": self.on_alias}.get(what)
        if method == "GET" and made and made(rest):
            return 200, {}
        return 404, {"errcode": "M_NOT_FOUND"}

    def next(self) -> list[dict]:
        """The events of the next transaction. One that comes again under the same id must be the same, and counts once."""
        while True:
            txn, body = self.transactions.get(timeout=PATIENCE)
            known = self.seen.get(txn)
            assert known in (None, body), f"transaction {txn} changed: {known} {body}"
            if known is None:
                self.seen[txn] = body
                return body["events"]

    def until(self, event_id: str) -> list[dict]:
        """All events up to one."""
        events = []
        while not any(event["event_id"] == event_id for event in events):
            events += self.next()
        return events


class Server:
    """The homeserver as a process."""

    def __init__(self, binary: str, folder: pathlib.Path, bridge: Bridge):
        self.binary, self.folder, self.port, self.process = binary, folder, free_port(), None
        (folder / "services").mkdir()
        (folder / "services" / "irc.yaml").write_text(
            f"""id: irc
url: {bridge.url}
as_token: {AS_TOKEN}
hs_token: {HS_TOKEN}
sender_localpart: _irc_bot
rate_limited: false
receive_ephemeral: true
namespaces:
  users: [{{exclusive: true, regex: "@_irc_.*:bridged\\\\.test"}}]
  aliases: [{{exclusive: true, regex: "#_irc_.*"}}]
  rooms: []
"""
        )
        (folder / "config.toml").write_text(
            f"""server_name = "{SERVER_NAME}"
data_dir = "{folder / 'data'}"
listen = ["{HOST}:{self.port}"]
rate_limits = false
[appservices]
folder = "{folder / 'services'}"
[auth.registration]
enabled = true
without_verification = true
[federation]
enabled = false
"""
        )

    def start(self) -> None:
        log = open(self.folder / "log", "ab")
        arguments = [self.binary, "--config", str(self.folder / "config.toml")]
        self.process = subprocess.Popen(arguments, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        for _ in range(PATIENCE * 50):
            assert self.process.poll() is None, (self.folder / "log").read_text()[-4000:]
            try:
                self.call("GET", "/versions")
                return
            except OSError:
                time.sleep(0.02)
        raise AssertionError("the server does not answer")

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def call(self, method: str, path: str, token: str | None = None, body: dict | None = None) -> dict:
        headers = {"Content-Type": "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        url = f"http://{HOST}:{self.port}/_matrix/client{path}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise Refused(error.code, json.load(error)) from None

    def bridged(self, method: str, path: str, body: dict | None = None, user: str | None = None, **query) -> dict:
        """A request of the bridge's, as one of its users."""
        if user:
            query["user_id"] = user
        sign = "&" if "?" in path else "?"
        return self.call(method, path + sign + urllib.parse.urlencode(query), AS_TOKEN, body)

    def say(self, room: str, text: str, token: str, **query) -> str:
        path = f"/v3/rooms/{quote(room)}/send/m.room.message/{time.monotonic_ns()}?{urllib.parse.urlencode(query)}"
        return self.call("PUT", path, token, {"msgtype": "m.text", "body": text})["event_id"]


def texts(events: list[dict]) -> list[str]:
    return [event["content"]["body"] for event in events if event["type"] == "m.room.message"]


def refused(status: int, code: str, call, *arguments, **named) -> None:
    try:
        call(*arguments, **named)
    except Refused as error:
        assert (error.status, error.code) == (status, code), error
    else:
        raise AssertionError(f"{status} {code} was expected")


def scenario(server: Server, bridge: Bridge) -> None:
    dummy = {"type": "m.login.dummy"}
    ann = server.call("POST", "/v3/register", None, {"username": "ann", "password": "a long one", "auth": dummy})
    token = ann["access_token"]
    room = server.call("POST", "/v3/createRoom", token, {"preset": "public_chat"})["room_id"]
    server.say(room, "nobody listens", token)

    # The bridge is there, and is its bot.
    assert server.bridged("POST", "/v1/appservice/irc/ping", {"transaction_id": "x"})["duration_ms"] >= 0
    assert server.bridged("GET", "/v3/account/whoami")["user_id"] == BOT

    # It has its users for itself, and makes one.
    taken = {"username": "_irc_ann", "password": "a long one", "auth": dummy}
    refused(400, "M_EXCLUSIVE", server.call, "POST", "/v3/register", None, taken)
    ghost = {"type": "m.login.application_service", "username": "_irc_ann", "inhibit_login": True}
    assert server.bridged("POST", "/v3/register", ghost) == {"user_id": GHOST}
    server.bridged("PUT", f"/v3/profile/{quote(GHOST)}/displayname", {"displayname": "Ann (IRC)"}, user=GHOST)

    # It acts as that user, and at a time of its choice.
    joined = server.bridged("POST", f"/v3/join/{quote(room)}", {}, user=GHOST)
    assert joined["room_id"] == room
    sent = server.say(room, "from IRC", AS_TOKEN, user_id=GHOST, ts=1_600_000_000_000)
    seen = server.call("GET", f"/v3/rooms/{quote(room)}/event/{quote(sent)}", token)
    assert (seen["sender"], seen["origin_server_ts"]) == (GHOST, 1_600_000_000_000), seen
    refused(403, "M_FORBIDDEN", server.bridged, "GET", "/v3/account/whoami", user=ann["user_id"])

    # It is told of the room from then on.
    events = bridge.until(server.say(room, "hello", token))
    assert texts(events) == ["from IRC", "hello"], events
    assert events[0]["type"] == "m.room.member" and events[0]["state_key"] == GHOST, events

    # What it missed comes when it is back: once, in order, whatever else happened to the server meanwhile.
    bridge.kill()
    server.say(room, "missed 1", token)
    server.say(room, "missed 2", token)
    server.kill()
    server.start()
    server.say(room, "missed 3", token)
    bridge.start()
    server.bridged("POST", "/v1/appservice/irc/ping", {})
    events = bridge.until(server.say(room, "back", token))
    assert texts(events) == ["missed 1", "missed 2", "missed 3", "back"], events
    server.kill()
    server.start()
    events = bridge.until(server.say(room, "once", token))
    assert texts(events) == ["once"], events

    # Users and aliases are made when somebody asks for them.
    def make_user(user: str) -> bool:
        localpart = user[1:].split(":")[0]
        body = {"type": "m.login.application_service", "username": localpart, "inhibit_login": True}
        return bool(server.bridged("POST", "/v3/register", body)) if localpart == "_irc_ben" else False

    def make_alias(alias: str) -> bool:
        if alias != ALIAS:
            return False
        made = server.bridged("POST", "/v3/createRoom", {"preset": "public_chat"})
        server.bridged("PUT", f"/v3/directory/room/{quote(alias)}", {"room_id": made["room_id"]})
        return True

    bridge.on_user, bridge.on_alias = make_user, make_alias
    invite = f"/v3/rooms/{quote(room)}/invite"
    server.call("POST", invite, token, {"user_id": f"@_irc_ben:{SERVER_NAME}"})
    refused(404, "M_NOT_FOUND", server.call, "POST", invite, token, {"user_id": f"@_irc_eve:{SERVER_NAME}"})
    made = server.call("POST", f"/v3/join/{quote(ALIAS)}", token, {})["room_id"]
    assert server.call("GET", f"/v3/directory/room/{quote(ALIAS)}")["room_id"] == made
    alias = f"/v3/directory/room/{quote(f'#_irc_own:{SERVER_NAME}')}"
    refused(400, "M_EXCLUSIVE", server.call, "PUT", alias, token, {"room_id": made})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", required=True)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bridge = Bridge(free_port())
        bridge.start()
        server = Server(arguments.binary, pathlib.Path(folder), bridge)
        server.start()
        try:
            scenario(server, bridge)
        finally:
            server.kill()
    print("the bridge has everything, once")


if __name__ == "__main__":
    main()
