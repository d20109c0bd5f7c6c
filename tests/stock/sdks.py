#!/usr/bin/env python3
"""Stock SDKs end to end, each scenario against the binary and against a stock Synapse, the control.

    sdks.py --binary PATH --rust-sdk PATH [--on cliquepay] [--on synapse] [--only WORD …]

What fails on both is the scenario's fault. Ends with a line "N passed, N failed", and with status 1 if anything failed.
--rust-sdk  the program that is built from rust-sdk/
--on    only this server
--only  only scenarios with one of these words in their names
Runs in the virtual environment that venv.sh makes; the SDKs in JavaScript are installed beside (npm ci in tests/).
"""

import argparse
import json
import os
import pathlib
import secrets
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from dataclasses import dataclass

TESTS = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TESTS / "peers"))
import synapse as synapse_peer  # noqa: E402
from cliquepay import CliquePay  # noqa: E402
from dinner import PASSWORD, call  # noqa: E402
from provider import NODE, Provider  # noqa: E402
from sso import Browser  # noqa: E402

# A scenario that hangs is ended after so many seconds. The longest takes ten on a machine with nothing else to do.
PATIENCE = 300
# Where apps with no page of their own are answered.
APP = "http://127.0.0.1/callback"
# A folder for what the browsers showed.
PICTURES = ["--out", os.environ["LOGIN_PICTURES"]] if "LOGIN_PICTURES" in os.environ else []


@dataclass
class Scenario:
    """A script that is given the server's URL, and what the provider says of itself where people log in through that.

    A line of it that begins with a word of `ANSWERS` asks for something; it is told on its standard input when that is done.
    """

    name: str
    command: list[str]
    with_provider: bool = False
    # Pages are every server's own, and Synapse leaves OAuth to another service: such scenarios have no control.
    servers: tuple[str, ...] = ("cliquepay", "synapse")


def script(*parts: str) -> str:
    """The path of a script."""
    return str(TESTS.joinpath("stock", *parts))


# Stands for the program that is built from rust-sdk/.
RUST_SDK = "rust-sdk"

SCENARIOS = [
    Scenario("matrix-js-sdk: encryption", [NODE, script("js-sdk", "encryption.mjs"), "--restart"]),
    Scenario("matrix-nio: encryption", [sys.executable, script("encryption.py")], with_provider=True),
    Scenario("matrix-sdk for Rust: sliding sync and encryption", [RUST_SDK]),
    Scenario("matrix-sdk for Rust: OAuth", [RUST_SDK, "--oauth"], servers=("cliquepay",)),
    Scenario(
        "matrix-js-sdk: OAuth",
        [NODE, script("js-sdk", "oauth.mjs"), *PICTURES],
        with_provider=True,
        servers=("cliquepay",),
    ),
    Scenario(
        "browser: logins through a provider",
        [NODE, str(TESTS / "browser" / "logins" / "logins.mjs"), *PICTURES],
        with_provider=True,
        servers=("cliquepay",),
    ),
]


class Synapse:
    """The control, for as long as the scenarios run."""

    kind = "synapse"

    def __init__(self):
        self.port = synapse_peer.free_port()
        self.url = f"http://127.0.0.1:{self.port}"

    def trust(self, provider: Provider) -> None:
        """People can log in through it."""
        self.more = provider.for_synapse()

    def start(self, folder: pathlib.Path | None = None) -> None:
        """Starts it, also again in its folder."""
        arguments = argparse.Namespace(venv=str(synapse_peer.DEFAULT_VENV), dir=folder, port=self.port)
        self.process, self.folder, _ = synapse_peer.launch(arguments, self.more)

    def restart(self) -> None:
        """Kills it and starts it again."""
        self.process.kill()
        self.process.wait()
        self.start(self.folder)

    def __enter__(self) -> "Synapse":
        self.start()
        return self

    def __exit__(self, *_) -> None:
        self.process.terminate()
        self.process.wait()
        synapse_peer.stop(self.folder)

    def log(self) -> str:
        """The end of what it said."""
        path = self.folder / "synapse.log"
        return path.read_text()[-8000:] if path.exists() else ""


def restart(server, _words: str) -> str:
    """Kills the server and starts it again."""
    server.restart()
    return "done"


def open_page(server, url: str) -> str:
    """Somebody new logs in in a browser and lets the app in; gives where the browser is sent."""
    name = f"anybody-{secrets.token_hex(4)}"
    register_body = {"username": name, "password": PASSWORD, "inhibit_login": True, "auth": {"type": "m.login.dummy"}}
    call(server.url, "POST", "/_matrix/client/v3/register", None, register_body)
    return Browser(username=name, password=PASSWORD).log_in(url, APP)


def revoke(_server, words: str) -> str:
    """Takes a token back; gives the status of the answer."""
    endpoint, client, token = words.split()
    form = urllib.parse.urlencode({"token": token, "token_type_hint": "refresh_token", "client_id": client})
    with urllib.request.urlopen(endpoint, data=form.encode(), timeout=30) as answer:
        return str(answer.status)


ANSWERS = {"restart": restart, "open": open_page, "revoke": revoke}


def run(command: list[str], server) -> int:
    """Runs a script, and does what it asks for; gives its status."""
    script = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
    end = threading.Timer(PATIENCE, script.kill)
    end.start()
    try:
        for line in script.stdout:
            print(line, end="", flush=True)
            word, _, words = line.strip().partition(" ")
            if word in ANSWERS:
                print(ANSWERS[word](server, words), file=script.stdin, flush=True)
        return script.wait()
    finally:
        end.cancel()
        script.kill()
        script.wait()


def play(scenario: Scenario, server, provider: Provider) -> bool:
    """Runs a scenario against a server; says how it went."""
    print(f"-- {scenario.name}, on {server.kind}", flush=True)
    more = ["--provider", json.dumps(provider.facts)] if scenario.with_provider else []
    begun = time.monotonic()
    status = run([*scenario.command, server.url, *more], server)
    took = time.monotonic() - begun
    if status != 0:
        print(server.log(), file=sys.stderr, flush=True)
    ended = "ok" if status == 0 else f"FAILED with {status}"
    print(f"-- {scenario.name}, on {server.kind}: {ended} ({took:.0f} s)", flush=True)
    return status == 0


def play_all(server, chosen: list[Scenario]) -> list[bool]:
    """Runs scenarios against one server, which has to end in good order afterwards."""
    provider = Provider([server.url])
    server.trust(provider)
    results = []
    try:
        with server:
            results = [play(scenario, server, provider) for scenario in chosen]
    except AssertionError as error:
        print(f"-- {server.kind}: {error}", file=sys.stderr)
        results.append(False)
    finally:
        provider.stop()
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description="stock SDKs end to end")
    parser.add_argument("--binary", required=True, help="the server under test")
    parser.add_argument("--rust-sdk", required=True, help="the program that is built from rust-sdk/")
    parser.add_argument("--on", action="append", choices=["cliquepay", "synapse"], help="only this server")
    parser.add_argument("--only", action="append", default=[], help="only scenarios with this in their names")
    arguments = parser.parse_args()
    chosen = [one for one in SCENARIOS if not arguments.only or any(word in one.name for word in arguments.only)]
    for scenario in chosen:
        scenario.command = [arguments.rust_sdk if word == RUST_SDK else word for word in scenario.command]
    results = []
    for kind in arguments.on or ["cliquepay", "synapse"]:
        server = CliquePay(arguments.binary) if kind == "cliquepay" else Synapse()
        if wanted := [one for one in chosen if kind in one.servers]:
            results += play_all(server, wanted)
    print(f"{sum(results)} passed, {len(results) - sum(results)} failed")
    sys.exit(0 if results and all(results) else 1)


if __name__ == "__main__":
    main()
