"""Homeservers that federate on loopback: CliquePay and Synapse as processes, TLS between them under a certificate authority made
for the purpose, and a wire to each that can be cut.

A server is called by an address and a port (127.17.3.21:18448), so nobody needs a name server. At that address stands a relay of this
process; the server itself listens on another port behind it. Cutting a server's wire closes the relay: nobody reaches it any more.
With every wire cut nobody reaches anybody.
"""

import asyncio
import datetime
import ipaddress
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "peers"))
import synapse as synapse_peer  # noqa: E402

PUBLIC_PORT, TLS_PORT, CLIENT_PORT = 18448, 28448, 18008
START_LIMIT_SECONDS = 90


class Refused(Exception):
    """An answer that is an error."""

    def __init__(self, status, body, request):
        super().__init__(f"{request}: {status} {body}")
        self.status, self.body = status, body
        self.errcode = body.get("errcode") if isinstance(body, dict) else None


class Authority:
    """A certificate authority that lives as long as its folder."""

    def __init__(self, folder: pathlib.Path):
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests of federation")])
        now = datetime.datetime.now(datetime.timezone.utc)
        self.span = (now - datetime.timedelta(hours=1), now + datetime.timedelta(days=2))
        certificate = (
            self._builder(self.name, self.key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self.key, hashes.SHA256())
        )
        self.path = folder / "ca.pem"
        self.path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def _builder(self, subject, public_key):
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(self.span[0])
            .not_valid_after(self.span[1])
        )

    def issue(self, address: str) -> tuple[pathlib.Path, pathlib.Path]:
        """A certificate for an address: the paths of chain and key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, address)])
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
        certificate = (
            self._builder(subject, key.public_key())
            .add_extension(names, critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .sign(self.key, hashes.SHA256())
        )
        chain, secret = self.folder / f"{address}.pem", self.folder / f"{address}.key"
        chain.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        secret.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return chain, secret


class Wires:
    """The relays, on a thread of their own."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        self.servers, self.open = {}, {}
        threading.Thread(target=self.loop.run_forever, daemon=True).start()

    def _do(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(20)

    async def _relay(self, address, reader, writer):
        try:
            far_reader, far_writer = await asyncio.open_connection(address, TLS_PORT)
        except OSError:
            writer.close()
            return
        ends = (writer, far_writer)
        self.open[address].add(ends)

        async def pump(source, sink):
            try:
                while data := await source.read(65536):
                    sink.write(data)
                    await sink.drain()
            except OSError:
                pass
            for end in ends:
                end.close()

        await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))
        self.open[address].discard(ends)

    def heal(self, address: str) -> None:
        if address in self.servers:
            return

        async def start():
            self.open.setdefault(address, set())
            self.servers[address] = await asyncio.start_server(
                lambda reader, writer: self._relay(address, reader, writer), address, PUBLIC_PORT
            )

        self._do(start())

    def cut(self, address: str) -> None:
        server = self.servers.pop(address, None)
        if server is None:
            return

        async def stop():
            server.close()
            for ends in list(self.open[address]):
                for end in ends:
                    end.transport.abort()

        self._do(stop())


class Homeserver:
    """One server. `start`, `kill` (SIGKILL), `stop` (SIGTERM)."""

    def __init__(self, world: "World", address: str):
        self.world, self.address = world, address
        self.name = f"{address}:{PUBLIC_PORT}"
        self.url = f"http://{address}:{CLIENT_PORT}"
        self.folder = world.folder / address
        self.folder.mkdir()
        self.process = None

    def command(self) -> list[str]:
        raise NotImplementedError

    def start(self) -> None:
        with open(self.folder / "output.log", "ab") as output:
            self.process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=self.folder
            )
        deadline = time.monotonic() + START_LIMIT_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            try:
                with urllib.request.urlopen(f"{self.url}/_matrix/client/versions", timeout=2):
                    return
            except OSError:
                time.sleep(0.05)
        raise SystemExit(f"{self.name} did not start:\n{self.log()}")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        self.process.terminate()
        try:
            return self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return -1

    def log(self, lines: int = 60) -> str:
        return "\n".join((self.folder / "output.log").read_text(errors="replace").splitlines()[-lines:])

    def user(self, localpart: str) -> "User":
        """Registers a user."""
        body = {"username": localpart, "password": f"{localpart}-secret-1", "auth": {"type": "m.login.dummy"}}
        answer = request("POST", f"{self.url}/_matrix/client/v3/register", body)
        return User(self, answer["user_id"], answer["access_token"])


class CliquePay(Homeserver):
    kind = "cliquepay"
    # Servers that are asked for the keys of those that cannot be reached.
    key_servers = ()

    def command(self):
        config = self.folder / "config.toml"
        if not config.exists():
            chain, key = self.world.authority.issue(self.address)
            config.write_text(
                f'server_name = "{self.name}"\n'
                f'data_dir = "{self.folder}/data"\n'
                f'listen = ["{self.address}:{CLIENT_PORT}"]\n'
                f'log = "{os.environ.get("CLIQUEPAY_TEST_LOG", "info,ruma_state_res=off")}"\n'
                "rate_limits = false\n"
                f'[tls]\nlisten = ["{self.address}:{TLS_PORT}"]\ncertificate = "{chain}"\nkey = "{key}"\n'
                f'[federation]\nextra_ca = "{self.world.authority.path}"\nallow_private_addresses = true\nsrv = false\n'
                f"key_servers = {json.dumps(list(self.key_servers))}\n"
                f'[client_api]\ndefault_room_version = "{self.world.version}"\n'
                "[auth.registration]\nenabled = true\nwithout_verification = true\n"
                "[auth.password]\nmemory_kib = 64\niterations = 1\n"
            )
        return [self.world.binary, "--config", str(config)]

    def check(self) -> None:
        """What is stored fits together. The server is stopped."""
        done = subprocess.run(
            [self.world.binary, "--config", str(self.folder / "config.toml"), "check"], capture_output=True, text=True
        )
        assert done.returncode == 0, f"{self.name}: check\n{done.stdout}{done.stderr}"


class Synapse(Homeserver):
    kind = "synapse"

    def command(self):
        config = self.folder / "homeserver.yaml"
        python = str(synapse_peer.ensure_installed(self.world.venv))
        command = [python, "-m", "synapse.app.homeserver", "-c", str(config)]
        if not config.exists():
            synapse_peer.write_config(self.folder, CLIENT_PORT)
            chain, key = self.world.authority.issue(self.address)
            settings = json.loads(config.read_text())
            settings |= {
                "server_name": self.name,
                "public_baseurl": f"{self.url}/",
                "listeners": [
                    {
                        "port": CLIENT_PORT, "type": "http", "tls": False, "bind_addresses": [self.address],
                        "resources": [{"names": ["client"], "compress": False}],
                    },
                    {
                        "port": TLS_PORT, "type": "http", "tls": True, "bind_addresses": [self.address],
                        "resources": [{"names": ["federation"], "compress": False}],
                    },
                ],
                "tls_certificate_path": str(chain),
                "tls_private_key_path": str(key),
                "federation_custom_ca_list": [str(self.world.authority.path)],
                "ip_range_blacklist": [],
                "federation_ip_range_blacklist": [],
                "rc_federation": {
                    "window_size": 1000, "sleep_limit": 100_000, "sleep_delay": 1, "reject_limit": 100_000,
                    "concurrent": 50,
                },
                # A peer that comes back is tried again at once, so that a test does not wait for minutes.
                "federation": {
                    "destination_min_retry_interval": 500, "destination_max_retry_interval": 2000,
                    "destination_retry_multiplier": 1,
                },
                "allow_public_rooms_over_federation": True,
            }
            config.write_text(json.dumps(settings, indent=1))
            subprocess.run([*command, "--generate-keys"], check=True, stdout=subprocess.DEVNULL, cwd=self.folder)
        return command

    def log(self, lines: int = 60) -> str:
        own = self.folder / "synapse.log"
        tail = own.read_text(errors="replace").splitlines()[-lines:] if own.exists() else []
        return super().log(lines) + "\n" + "\n".join(tail)

    def check(self) -> None:
        """Nothing to check from outside."""


class User:
    """A user with an access token, and the few requests that the tests make."""

    def __init__(self, server: Homeserver, user_id: str, token: str):
        self.server, self.id, self.token = server, user_id, token
        self.txn = 0
        self.mark = f"{os.getpid()}-{time.monotonic_ns()}"

    def call(self, method: str, path: str, body=None, timeout: float = 90):
        return request(method, f"{self.server.url}{path}", body, self.token, timeout)

    def next_txn(self) -> str:
        self.txn += 1
        return f"{self.mark}-{self.txn}"

    def create_room(self, version: str, **options) -> str:
        body = {"room_version": version, "preset": "private_chat", **options}
        return self.call("POST", "/_matrix/client/v3/createRoom", body)["room_id"]

    def invite(self, room: str, who: "User") -> None:
        self.call("POST", f"/_matrix/client/v3/rooms/{quote(room)}/invite", {"user_id": who.id})

    def join(self, room: str, *via: Homeserver) -> None:
        servers = "&".join(f"via={quote(server.name)}&server_name={quote(server.name)}" for server in via)
        self.call("POST", f"/_matrix/client/v3/join/{quote(room)}?{servers}", {})

    def leave(self, room: str) -> None:
        self.call("POST", f"/_matrix/client/v3/rooms/{quote(room)}/leave", {})

    def send(self, room: str, event_type: str, content: dict, txn: str | None = None) -> str:
        txn = txn or self.next_txn()
        path = f"/_matrix/client/v3/rooms/{quote(room)}/send/{quote(event_type)}/{quote(txn)}"
        return self.call("PUT", path, content)["event_id"]

    def say(self, room: str, text: str, txn: str | None = None) -> str:
        return self.send(room, "m.room.message", {"msgtype": "m.text", "body": text}, txn)

    def set_state(self, room: str, event_type: str, key: str, content: dict) -> str:
        path = f"/_matrix/client/v3/rooms/{quote(room)}/state/{quote(event_type)}/{quote(key)}"
        return self.call("PUT", path, content)["event_id"]

    def event(self, room: str, event_id: str) -> dict:
        return self.call("GET", f"/_matrix/client/v3/rooms/{quote(room)}/event/{quote(event_id)}")

    def state(self, room: str) -> dict:
        """Current state: (type, key) to event id."""
        events = self.call("GET", f"/_matrix/client/v3/rooms/{quote(room)}/state")
        return {(event["type"], event["state_key"]): event["event_id"] for event in events}

    def membership(self, room: str, who: "User") -> str:
        path = f"/_matrix/client/v3/rooms/{quote(room)}/state/m.room.member/{quote(who.id)}"
        return self.call("GET", path)["membership"]

    def sync(self, since: str | None = None, timeout_ms: int = 0) -> dict:
        path = f"/_matrix/client/v3/sync?timeout={timeout_ms}" + (f"&since={quote(since)}" if since else "")
        return self.call("GET", path, timeout=90 + timeout_ms / 1000)

    def messages(self, room: str, limit: int = 100) -> list[dict]:
        """The whole history that the server gives, newest first."""
        events, token = [], None
        for _ in range(50):
            path = f"/_matrix/client/v3/rooms/{quote(room)}/messages?dir=b&limit={limit}"
            page = self.call("GET", path + (f"&from={quote(token)}" if token else ""))
            events += page["chunk"]
            token = page.get("end")
            if token is None:
                return events
        raise AssertionError("history has no end")

    def ledger(self, room: str) -> dict:
        return self.call("GET", f"/_matrix/client/unstable/com.cliquepay/v1/rooms/{quote(room)}/ledger")

    def entry(self, room: str, kind: str, content: dict, txn: str | None = None) -> dict:
        txn = txn or self.next_txn()
        path = f"/_matrix/client/unstable/com.cliquepay/v1/rooms/{quote(room)}/ledger/entries/{quote(txn)}"
        return self.call("PUT", path, {"type": f"com.cliquepay.{kind}", "content": content})


def quote(text: str) -> str:
    return urllib.parse.quote(text, safe="")


def request(method: str, url: str, body=None, token: str | None = None, timeout: float = 90):
    headers = {"Content-Type": "application/json"} if body is not None else {}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    data = json.dumps(body).encode() if body is not None else None
    call = urllib.request.Request(url, data=data, method=method, headers=headers)
    try:
        with urllib.request.urlopen(call, timeout=timeout) as answer:
            return json.loads(answer.read())
    except urllib.error.HTTPError as error:
        text = error.read()
        try:
            answer = json.loads(text)
        except ValueError:
            answer = text.decode(errors="replace")
        raise Refused(error.code, answer, f"{method} {url}") from None


class World:
    """A folder with a certificate authority and servers in it; on leaving it everything is stopped and deleted."""

    def __init__(self, binary: str | None, venv: str | None = None, keep: bool = False, version: str = "12"):
        self.binary, self.version = binary, version
        self.venv = pathlib.Path(venv or os.environ.get("SYNAPSE_VENV", synapse_peer.DEFAULT_VENV)).expanduser()
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="cliquepay-federation-"))
        self.authority, self.wires = Authority(self.folder), Wires()
        self.servers, self.keep = [], keep

    def add(self, kind) -> Homeserver:
        """Starts one more server, at an address of its own: several worlds may be on one machine."""
        pid = os.getpid()
        address = f"127.{10 + pid % 200}.{pid // 200 % 250}.{21 + len(self.servers)}"
        server = kind(self, address)
        self.servers.append(server)
        server.start()
        self.wires.heal(address)
        return server

    def cut(self) -> None:
        for server in self.servers:
            self.wires.cut(server.address)

    def heal(self) -> None:
        for server in self.servers:
            self.wires.heal(server.address)

    def __enter__(self):
        return self

    def __exit__(self, kind, error, _):
        if error is not None:
            for server in self.servers:
                print(f"== {server.kind} {server.name}\n{server.log()}", file=sys.stderr)
        for server in self.servers:
            if server.process and server.process.poll() is None:
                server.process.send_signal(signal.SIGKILL)
                server.process.wait()
        if not self.keep:
            shutil.rmtree(self.folder, ignore_errors=True)
        else:
            print(f"kept: {self.folder}", file=sys.stderr)


def eventually(what: str, look, limit: float = 60):
    """Looks until there is something to see, and gives it back. `look` says what is still missing by AssertionError, or is false."""
    deadline, last = time.monotonic() + limit, None
    while time.monotonic() < deadline:
        try:
            if found := look():
                return found
            last = None
        except (AssertionError, Refused, OSError, KeyError) as error:
            last = error
        time.sleep(0.2)
    raise AssertionError(f"not within {limit} s: {what} ({last})")
