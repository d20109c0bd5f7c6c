#!/usr/bin/env python3
"""What federation costs: two servers of one kind on this machine, everything between them over TLS.

    measure.py --binary PATH [--servers cc] [--members 1000] [--json FILE]     (c: CliquePay, s: Synapse)

- a join to a room of many members on the other server: until the join is answered, and until all members are listed;
- delivery of single messages to a long poll on the other server: p50 and p99;
- a burst of messages from 8 users at once: events a second until the last is on the other server;
- memory of both afterwards.

Figures of one run on one machine; for ratios run it for both kinds in one sitting.
"""

import argparse
import concurrent.futures
import json
import statistics
import sys
import threading
import time

from world import CliquePay, Synapse, World, eventually, quote


def fill(owner, room, count):
    """Members of the owner's server. Eight at a time."""

    def one(n):
        owner.server.user(f"m{n}").join(room)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(one, range(count)))


def join(owner, guest, version, members):
    room = owner.create_room(version, preset="public_chat")
    fill(owner, room, members)
    begun = time.monotonic()
    guest.join(room, owner.server)
    answered = time.monotonic() - begun

    def complete():
        path = f"/_matrix/client/v3/rooms/{quote(room)}/joined_members"
        return len(guest.call("GET", path)["joined"]) == members + 2

    eventually("all members are listed", complete, 300)
    return {"members": members + 1, "answered_s": answered, "complete_s": time.monotonic() - begun}


def delivery(sender, reader, room, count=200):
    """One message at a time, to a reader who waits."""
    arrivals, stop = {}, threading.Event()
    since = reader.sync()["next_batch"]

    def listen():
        token = since
        while not stop.is_set():
            answer = reader.sync(token, 2000)
            now = time.monotonic()
            token = answer["next_batch"]
            for event in answer.get("rooms", {}).get("join", {}).get(room, {}).get("timeline", {}).get("events", []):
                arrivals[event["content"].get("body")] = now

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    took = []
    for n in range(count):
        text = f"message {n}"
        begun = time.monotonic()
        sender.say(room, text)
        while text not in arrivals and time.monotonic() - begun < 30:
            time.sleep(0.0005)
        took.append(1000 * (arrivals[text] - begun))
        time.sleep(0.02)
    stop.set()
    listener.join(10)
    took.sort()
    return {"messages": count, "p50_ms": statistics.median(took), "p99_ms": took[int(0.99 * (count - 1))]}


def burst(sender, reader, room, count, senders=8):
    begun = time.monotonic()

    def say(n):
        for i in range(count // senders):
            sender.say(room, f"burst {n} {i}")

    with concurrent.futures.ThreadPoolExecutor(senders) as pool:
        list(pool.map(say, range(senders)))
    sent = time.monotonic() - begun
    last = sender.say(room, "the last one")

    eventually("the last one arrives", lambda: reader.event(room, last), 300)
    total = time.monotonic() - begun
    seen = eventually(
        "all are there",
        lambda: (found := sum(1 for event in reader.messages(room, 1000) if event["content"].get("body", "").startswith("burst")))
        == senders * (count // senders)
        and found,
        300,
    )
    return {"events": seen, "sent_per_s": seen / sent, "arrived_per_s": seen / total}


def memory(server):
    for line in open(f"/proc/{server.process.pid}/status"):
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary")
    parser.add_argument("--servers", default="cc")
    parser.add_argument("--version", default="11")
    parser.add_argument("--members", type=int, default=1000)
    parser.add_argument("--burst", type=int, default=2000)
    parser.add_argument("--json")
    options = parser.parse_args()
    with World(options.binary) as world:
        kinds = {"c": CliquePay, "s": Synapse}
        one, two = [world.add(kinds[kind]) for kind in options.servers]
        ann, ben = one.user("ann"), two.user("ben")
        report = {"servers": options.servers, "join": join(ann, ben, options.version, options.members)}
        room = ann.create_room(options.version, preset="public_chat")
        ben.join(room, one)
        report["delivery"] = delivery(ann, ben, room)
        report["burst"] = burst(ann, ben, room, options.burst)
        report["memory_mib"] = {"sender": memory(one), "receiver": memory(two)}
    print(json.dumps(report, indent=1))
    if options.json:
        with open(options.json, "w") as out:
            json.dump(report, out, indent=1)


if __name__ == "__main__":
    sys.exit(main())
