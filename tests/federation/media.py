#!/usr/bin/env python3
"""Files between servers: two of CliquePay and a Synapse, each fetching what users of the others uploaded, under its name and as a
thumbnail; what is large passes through without being held in memory; what was fetched is there when its server is not, and after a crash.

    media.py --binary PATH [--keep]
"""

import argparse
import pathlib
import struct
import sys
import urllib.error
import urllib.request
import zlib

from world import CliquePay, Synapse, World, quote

LARGE = 48 << 20
# What a large file may add to the memory of a server that it passes through.
SPARE = 32 << 20


def png(width: int, height: int) -> bytes:
    """A picture that gets redder to the right."""
    row = b"\0" + b"".join(bytes((x * 255 // width, 90, 40)) for x in range(width))

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(row * height)) + chunk(b"IEND", b"")


def raw(user, method, path, body=None, kind=None, token=True):
    """Status, headers and body of an answer."""
    headers = {"Authorization": f"Bearer {user.token}"} if token else {}
    if kind:
        headers["Content-Type"] = kind
    call = urllib.request.Request(f"{user.server.url}{path}", data=body, method=method, headers=headers)
    try:
        with urllib.request.urlopen(call, timeout=90) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


def upload(user, body, kind, name):
    status, _, answer = raw(user, "POST", f"/_matrix/media/v3/upload?filename={quote(name)}", body, kind)
    assert status == 200, answer
    return answer.decode().split("mxc://")[1].split('"')[0]


def download(user, address):
    status, headers, body = raw(user, "GET", f"/_matrix/client/v1/media/download/{address}")
    assert status == 200, f"{user.id} {address}: {status} {body[:300]}"
    return headers, body


def memory(server) -> int:
    """The most that a server ever had in memory, in bytes."""
    status = pathlib.Path(f"/proc/{server.process.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) * 1024


def one_to_another(owner, reader):
    content = bytes(range(256)) * 1200
    address = upload(owner, content, "text/plain", "Kaffee \u2615.txt")
    headers, body = download(reader, address)
    assert body == content, f"{len(body)} bytes of {len(content)}"
    assert headers["Content-Type"].startswith("text/plain"), headers["Content-Type"]
    assert "%E2%98%95" in headers["Content-Disposition"], headers["Content-Disposition"]
    picture = upload(owner, png(800, 600), "image/png", "picture.png")
    path = f"/_matrix/client/v1/media/thumbnail/{picture}?width=320&height=240&method=scale"
    status, headers, body = raw(reader, "GET", path)
    assert (status, headers["Content-Type"], body[:4]) == (200, "image/png", b"\x89PNG"), f"{status} {body[:300]}"
    assert struct.unpack(">II", body[16:24]) == (320, 240), body[16:24]
    nothing = f"{owner.server.name}/nothinghere"
    status, _, body = raw(reader, "GET", f"/_matrix/client/v1/media/download/{nothing}")
    assert status == 404 and b"M_NOT_FOUND" in body, f"{status} {body}"
    print(f"{owner.server.kind} to {reader.server.kind}: ok", flush=True)
    return address


def without_holding_it(owner, reader):
    servers = (owner.server, reader.server)
    before = [memory(server) for server in servers]
    content = bytes(1 << 20) * (LARGE >> 20)
    address = upload(owner, content, "application/octet-stream", "large")
    _, body = download(reader, address)
    assert body == content
    grown = [memory(server) - had for server, had in zip(servers, before)]
    print(f"{LARGE >> 20} MiB passed through; memory grew by {[more >> 20 for more in grown]} MiB", flush=True)
    assert max(grown) < SPARE, grown


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True)
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    with World(options.binary, keep=options.keep) as world:
        servers = [world.add(kind) for kind in (CliquePay, CliquePay, Synapse)]
        users = [server.user(name) for server, name in zip(servers, ("ann", "ben", "carl"))]
        ann, ben, carl = users
        for owner in users:
            fetched = [one_to_another(owner, reader) for reader in users if reader is not owner]
            if owner is ben:
                of_ben = fetched[0]
        without_holding_it(ann, ben)
        for path in (f"/_matrix/media/v3/download/{of_ben}", f"/_matrix/client/v1/media/download/{of_ben}"):
            status, _, _ = raw(ann, "GET", path, token=False)
            assert status == (401 if "client" in path else 404), f"{path}: {status}"
        of_ann = upload(ann, b"kept", "text/plain", "kept.txt")
        later = upload(ben, b"later", "text/plain", "later.txt")
        servers[0].kill()
        world.wires.cut(servers[1].address)
        servers[0].start()
        assert download(ann, of_ann)[1] == b"kept"
        assert download(ann, of_ben)[1] == bytes(range(256)) * 1200
        status, _, body = raw(ann, "GET", f"/_matrix/client/v1/media/download/{later}")
        assert status == 502, f"{status} {body}"
        print("after a crash, and with the other server gone: ok", flush=True)
        for server in servers:
            status = server.stop()
            assert status == 0 or server.kind == "synapse", f"{server.name} ended with {status}\n{server.log()}"
            server.check()
    print("files between servers: ok")


if __name__ == "__main__":
    sys.exit(main())
