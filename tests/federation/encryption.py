#!/usr/bin/env python3
"""Encryption between servers, with matrix-js-sdk (stock/js-sdk/encryption.mjs): Alice's devices at one, Bob's at the other.

    encryption.py --binary PATH --node NODE [--pairs cc,cs,sc] [--keep]

NODE is a Node.js that the SDK runs in. --pairs: who is where, Alice first (c: CliquePay, s: Synapse); "ss" is the control.
Ends with a line "N passed, N failed", and with status 1 if anything failed.
"""

import argparse
import pathlib
import subprocess
import sys

from world import CliquePay, Synapse, World

SCRIPT = pathlib.Path(__file__).resolve().parent.parent / "stock" / "js-sdk" / "encryption.mjs"
KINDS = {"c": CliquePay, "s": Synapse}
# A scenario that hangs is ended after so many seconds.
PATIENCE = 300


def servers_of(world: World, pairs: list[str]) -> dict[str, list]:
    """As many servers of each kind as the pairs need."""
    count = {letter: max(pair.count(letter) for pair in pairs) for letter in KINDS}
    return {letter: [world.add(kind) for _ in range(count[letter])] for letter, kind in KINDS.items()}


def talk(node: str, servers: dict[str, list], pair: str) -> None:
    """The scenario between two servers."""
    alices = servers[pair[0]][0]
    bobs = servers[pair[1]][pair[0] == pair[1]]
    command = [node, str(SCRIPT), alices.url, "--bobs", bobs.url]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, timeout=PATIENCE)
    assert done.returncode == 0, f"it ended with {done.returncode}\n{alices.log()}\n{bobs.log()}"


def stop(server) -> None:
    """It ends in good order, and what it has stored fits together."""
    status = server.stop()
    assert status == 0 or server.kind == "synapse", f"{server.name} ended with {status}\n{server.log()}"
    server.check()


def main() -> int:
    parser = argparse.ArgumentParser(description="encryption between servers")
    parser.add_argument("--binary", required=True)
    parser.add_argument("--node", required=True)
    parser.add_argument("--pairs", default="cc,cs,sc", type=lambda text: text.split(","))
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    failed = 0
    with World(options.binary, keep=options.keep) as world:
        servers = servers_of(world, options.pairs)
        for pair in options.pairs:
            print(f"-- {pair}", flush=True)
            try:
                talk(options.node, servers, pair)
                print(f"-- {pair}: ok", flush=True)
            except (AssertionError, subprocess.TimeoutExpired) as error:
                failed += 1
                print(f"-- {pair}: FAILED: {error}", flush=True)
        for server in world.servers:
            stop(server)
    print(f"{len(options.pairs) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
