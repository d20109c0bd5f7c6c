#!/usr/bin/env python3
"""Rooms across servers: in each room version every server makes a room, invites the others, all join, chat, change state, page the
history from before their joining, leave, and see the same. Of the versions given with --short, the first server of each kind makes
a room with little history.

    rooms.py --binary PATH [--versions 10,11,12] [--short 1,2,3,6] [--servers ccs]     (c: CliquePay, s: Synapse)
"""

import argparse
import sys

from world import CliquePay, Refused, Synapse, World, eventually, quote


def bodies(user, room):
    return [event["content"].get("body") for event in user.messages(room) if event["type"] == "m.room.message"]


def one_room(version, owner, guests, past=25):
    people = [owner, *guests]
    room = owner.create_room(version, name=f"by {owner.server.kind}", invite=[])
    before = [owner.say(room, f"before anybody came, {n}") for n in range(past)]
    for guest in guests:
        owner.invite(room, guest)
        eventually(
            f"{guest.id} sees the invitation",
            lambda guest=guest: room in guest.sync()["rooms"].get("invite", {}),
        )
        guest.join(room, owner.server)
    for user in people:
        for other in people:
            eventually(
                f"{user.id} sees {other.id} joined",
                lambda user=user, other=other: user.membership(room, other) == "join",
            )
    said = [(user, user.say(room, f"hello from {user.id}")) for user in people]
    for reader in people:
        for writer, event_id in said:
            eventually(f"{reader.id} reads {writer.id}", lambda r=reader, e=event_id: r.event(room, e)["event_id"] == e)
    topic = owner.set_state(room, "m.room.topic", "", {"topic": "money"})
    for user in people:
        eventually(f"{user.id} sees the topic", lambda user=user: user.state(room)[("m.room.topic", "")] == topic)
    # History from before they came, paged from their own server, which has to ask for it.
    for guest in guests:
        eventually(
            f"{guest.id} pages back to the beginning",
            lambda guest=guest: set(before) <= {event["event_id"] for event in guest.messages(room)},
        )
    redacted = owner.call(
        "PUT", f"/_matrix/client/v3/rooms/{room}/redact/{quote(said[0][1])}/{owner.next_txn()}", {"reason": "typo"}
    )
    assert redacted["event_id"]
    for user in people:
        eventually(
            f"{user.id} sees the redaction", lambda user=user: "body" not in user.event(room, said[0][1])["content"]
        )
    states = [eventually("the state", lambda user=user: user.state(room)) for user in people]
    for user, state in zip(people, states):
        assert state == states[0], f"{user.id}: {set(state.items()) ^ set(states[0].items())}"
    last = guests[-1]
    last.leave(room)
    for user in people[:-1]:
        eventually(
            f"{user.id} sees {last.id} gone",
            lambda user=user: user.membership(room, last) == "leave",
        )
    # Who is not invited does not come in.
    try:
        last.join(room, owner.server)
    except Refused as error:
        assert error.status in (403, 404), error
    else:
        raise AssertionError(f"{last.id} came back without an invitation")
    print(f"room version {version}, made on {owner.server.kind} {owner.server.name}: ok", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary")
    parser.add_argument("--versions", default="10,11,12")
    parser.add_argument("--short", default="")
    parser.add_argument("--servers", default="ccs")
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    with World(options.binary, keep=options.keep) as world:
        kinds = {"c": CliquePay, "s": Synapse}
        servers = [world.add(kinds[kind]) for kind in options.servers]
        users = [server.user(name) for server, name in zip(servers, ["ann", "ben", "carl", "dora"])]
        for version in filter(None, options.versions.split(",")):
            for owner in users:
                one_room(version, owner, [user for user in users if user is not owner])
        first = {user.server.kind: user for user in reversed(users)}
        for version in filter(None, options.short.split(",")):
            for owner in first.values():
                one_room(version, owner, [user for user in users if user is not owner], past=2)
        for server in servers:
            status = server.stop()
            assert status == 0 or server.kind == "synapse", f"{server.name} ended with {status}\n{server.log()}"
            server.check()
    print("rooms across servers: ok")


if __name__ == "__main__":
    sys.exit(main())
