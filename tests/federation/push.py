#!/usr/bin/env python3
"""Push notifications from a real server to a gateway over TLS: what arrives, what arrives after the gateway and the server were down, and what a
server does whose operator allows no private addresses.

    push.py --binary PATH [--keep]
"""

import argparse
import http.server
import json
import queue
import ssl
import sys
import threading
import time

from world import CliquePay, Refused, World, quote

PORT = 18449
PATIENCE_SECONDS = 60
# So long nothing may come where nothing is to come.
QUIET_SECONDS = 1.5


class Server(CliquePay):
    def command(self):
        config = self.folder / "config.toml"
        first = not config.exists()
        command = super().command()
        if first:
            config.write_text(config.read_text() + "[push]\nallow_private_addresses = true\n")
        return command

    def close_off(self) -> None:
        """From the next start on."""
        config = self.folder / "config.toml"
        config.write_text(config.read_text().replace("[push]\nallow_private_addresses = true\n", ""))


class Gateway:
    """A push gateway at an address. It takes everything but what it is to reject."""

    def __init__(self, world: World, address: str):
        self.address, self.taken, self.rejected = address, queue.Queue(), []
        self.url = f"https://{address}:{PORT}/_matrix/push/v1/notify"
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(*world.authority.issue(address))
        self.server = None

    def start(self) -> None:
        gateway = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                if gateway.server is None:
                    # A connection that was kept alive ends with the gateway.
                    self.close_connection = True
                    return
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                gateway.taken.put((self.path, body["notification"]))
                answer = json.dumps({"rejected": gateway.rejected}).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer((self.address, PORT), Handler)
        self.server.daemon_threads = True
        self.server.socket = self.context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        server, self.server = self.server, None
        server.shutdown()
        server.server_close()

    def next(self) -> dict:
        path, notification = self.taken.get(timeout=PATIENCE_SECONDS)
        assert path == "/_matrix/push/v1/notify", path
        return notification

    def quiet(self) -> None:
        try:
            extra = self.taken.get(timeout=QUIET_SECONDS)
        except queue.Empty:
            return
        raise AssertionError(f"nobody expected {extra}")


def set_pusher(user, key: str, url: str, **data) -> None:
    user.call("POST", "/_matrix/client/v3/pushers/set", {
        "app_id": "org.example", "pushkey": key, "kind": "http", "lang": "en", "app_display_name": "Example",
        "device_display_name": "Phone", "data": {"url": url, **data},
    })


def pushers(user) -> list[str]:
    return [pusher["pushkey"] for pusher in user.call("GET", "/_matrix/client/v3/pushers")["pushers"]]


def read(user, room: str, event: str) -> None:
    user.call("POST", f"/_matrix/client/v3/rooms/{quote(room)}/receipt/m.read/{quote(event)}", {})


def what_happens_arrives(gateway, ann, ben, room):
    set_pusher(ann, "full", gateway.url)
    event = ben.say(room, "who pays?")
    got = gateway.next()
    expected = {"event_id": event, "room_id": room, "type": "m.room.message", "sender": ben.id, "counts": {"unread": 1}}
    assert expected.items() <= got.items(), got
    assert got["content"]["body"] == "who pays?" and got["devices"][0]["pushkey"] == "full", got
    assert "url" not in got["devices"][0]["data"], got
    read(ann, room, event)
    badge = gateway.next()
    assert "event_id" not in badge and badge["counts"] == {"unread": 0}, badge
    ann.say(room, "I do")
    gateway.quiet()
    print("what happens arrives: ok", flush=True)


def what_was_missed_arrives(server, gateway, ann, ben, room):
    gateway.stop()
    missed = [ben.say(room, "the gateway is down"), ben.say(room, "still")]
    deadline = time.monotonic() + PATIENCE_SECONDS
    while "did not take a notification" not in server.log(10_000):
        assert time.monotonic() < deadline, "nothing was said of a gateway that is down"
        threading.Event().wait(0.1)
    server.kill()
    server.start()
    missed.append(ben.say(room, "and the server was"))
    gateway.start()
    got = [gateway.next() for _ in missed]
    assert [one["event_id"] for one in got] == missed, got
    gateway.quiet()
    read(ann, room, missed[-1])
    assert gateway.next()["counts"] == {"unread": 0}
    print("what was missed arrives, once and in order: ok", flush=True)


def a_rejected_pushkey_ends_its_pusher(gateway, ann, ben, room):
    set_pusher(ann, "ids", gateway.url, format="event_id_only")
    gateway.rejected = ["full"]
    event = ben.say(room, "two phones")
    got = {one["devices"][0]["pushkey"]: one for one in (gateway.next(), gateway.next())}
    assert set(got) == {"full", "ids"}, got
    assert set(got["ids"]) == {"event_id", "room_id", "prio", "counts", "devices"} and got["ids"]["event_id"] == event, got
    for _ in range(100):
        if pushers(ann) == ["ids"]:
            break
        threading.Event().wait(0.1)
    assert pushers(ann) == ["ids"], pushers(ann)
    gateway.rejected = []
    ben.say(room, "one phone")
    assert gateway.next()["devices"][0]["pushkey"] == "ids"
    ann.call("POST", "/_matrix/client/v3/logout", {})
    ben.say(room, "none")
    gateway.quiet()
    print("pushers go with their pushkey, and with their device: ok", flush=True)


def no_private_addresses(server, gateway, ben, room):
    set_pusher(ben, "before", gateway.url)
    assert gateway.next()["counts"] == {"unread": 1}, "what ann said"
    assert server.stop() == 0
    server.close_off()
    server.start()
    try:
        set_pusher(ben, "after", gateway.url)
        raise AssertionError("a gateway at a private address was taken")
    except Refused as refused:
        assert (refused.status, refused.errcode) == (400, "M_INVALID_PARAM"), refused
    cat = server.user("cat")
    ben.invite(room, cat)
    cat.join(room)
    cat.say(room, "is anybody there?")
    gateway.quiet()
    assert "not allowed" in server.log(10_000)
    print("no private addresses where the operator wants none: ok", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True)
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    with World(options.binary, keep=options.keep) as world:
        server = world.add(Server)
        gateway = Gateway(world, server.address)
        gateway.start()
        ann, ben = server.user("ann"), server.user("ben")
        room = ben.create_room("12")
        ben.invite(room, ann)
        ann.join(room)
        what_happens_arrives(gateway, ann, ben, room)
        what_was_missed_arrives(server, gateway, ann, ben, room)
        a_rejected_pushkey_ends_its_pusher(gateway, ann, ben, room)
        no_private_addresses(server, gateway, ben, room)
        server.stop()
        server.check()
    return 0


if __name__ == "__main__":
    sys.exit(main())
