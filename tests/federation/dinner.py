#!/usr/bin/env python3
"""A shared ledger over three servers: Ann on one CliquePay server, Ben on another, Carl on a stock Synapse.

A dinner is split and settled; then every wire is cut, all sides go on writing, and the wires heal; then each server in turn is killed in
the middle of traffic and comes back. Each time both CliquePay servers end with the same balances and the same digest, and all three
with the same events.

    dinner.py --binary PATH [--version 12] [--keep]
"""

import argparse
import sys
import threading
import time

from world import CliquePay, Refused, Synapse, World, eventually


def same_ledger(room, one, two, entries=None):
    """Both servers fold the ledger to the same: gives it back."""

    def look():
        mine, theirs = one.ledger(room), two.ledger(room)
        assert mine["digest"] == theirs["digest"], f"{mine['entries']} and {theirs['entries']} entries"
        assert mine["balances"] == theirs["balances"]
        assert not mine["missing"] and not theirs["missing"], (mine["missing"], theirs["missing"])
        assert entries is None or mine["entries"] == entries, f"{mine['entries']} entries, not {entries}"
        return mine

    return eventually("the same ledger on both servers", look, 90)


def balances(ledger):
    return {balance["who"]["user_id"] if isinstance(balance["who"], dict) else balance["who"]: balance["amount"]
            for balance in ledger["balances"]}


def words_on(user, room):
    return [event["content"].get("body", "") for event in user.messages(room) if event["type"] == "m.room.message"]


def expense(user, room, title, amount, people):
    draft = {
        "title": title, "currency": "EUR", "amount": amount,
        "split": {"method": "equal", "inputs": [{"who": person.id} for person in people]},
    }
    return user.entry(room, "expense", draft)


def dinner(ann, ben, carl, version):
    group = ann.call(
        "PUT", f"/_matrix/client/unstable/com.cliquepay/v1/groups/{ann.next_txn()}", {"name": "Lisbon", "currency": "EUR", "invite": [ben.id]}
    )
    room = group["room_id"]
    create = next(event for event in ann.call("GET", f"/_matrix/client/v3/rooms/{room}/state") if event["type"] == "m.room.create")
    print("the group's room has version", create["content"]["room_version"], flush=True)
    for guest in (ben, carl):
        if guest is carl:
            ann.invite(room, guest)
        eventually(f"{guest.id} is invited", lambda guest=guest: room in guest.sync()["rooms"].get("invite", {}))
        guest.join(room, ann.server)
        eventually(f"{guest.id} is in", lambda guest=guest: ann.membership(room, guest) == "join")
    eventually("ben knows of carl", lambda: ben.membership(room, carl) == "join")
    expense(ann, room, "Dinner", "84.00", [ann, ben, carl])
    ledger = same_ledger(room, ann, ben)
    assert balances(ledger) == {ann.id: "56.00", ben.id: "-28.00", carl.id: "-28.00"}, balances(ledger)
    eventually("carl reads of the dinner in words", lambda: any("84.00" in words for words in words_on(carl, room)))
    carl.say(room, "thanks for the dinner")
    settlement = {"from": ben.id, "to": ann.id, "currency": "EUR", "amount": "28.00"}
    paid = ben.entry(room, "settlement", settlement)
    eventually("ann sees that it waits for her", lambda: ann.ledger(room)["pending"])
    ann.entry(room, "verdict", {"target": paid["event_id"], "verdict": "confirmed"})
    ledger = eventually(
        "ben is even", lambda: (found := same_ledger(room, ann, ben)) and ben.id not in balances(found) and found
    )
    assert balances(ledger) == {ann.id: "28.00", carl.id: "-28.00"}, balances(ledger)
    print("dinner: split, settled, confirmed, the same on both servers", flush=True)
    return room


def partition(world, room, ann, ben, carl):
    before = ann.ledger(room)["entries"]
    world.cut()
    for n in range(5):
        expense(ann, room, f"Taxi {n}", "12.00", [ann, ben])
        expense(ben, room, f"Museum {n}", "30.00", [ann, ben, carl])
        carl.say(room, f"is anybody there? {n}")
        ann.say(room, f"ann alone {n}")
        ben.say(room, f"ben alone {n}")
    ann.set_state(room, "m.room.topic", "", {"topic": "while cut off"})
    assert ann.ledger(room)["digest"] != ben.ledger(room)["digest"]
    world.heal()
    for user in (ann, ben, carl):
        user.say(room, f"{user.id} is back")
    ledger = same_ledger(room, ann, ben, before + 10)
    assert balances(ledger) == {ann.id: "8.00", ben.id: "70.00", carl.id: "-78.00"}, balances(ledger)
    same_room(room, ann, ben, carl)
    print("partition: healed, same digest, same events", flush=True)


def kinds(user, room):
    return {event["event_id"] for event in user.messages(room) if event["type"].startswith(("m.room.message", "com.cliquepay"))}


def same_room(room, *users):
    def look():
        # Something new brings along what a server missed while it was away.
        sets = [kinds(user, room) for user in users]
        for user, seen in zip(users[1:], sets[1:]):
            lacking = {True: len(sets[0] - seen), False: len(seen - sets[0])}
            assert seen == sets[0], f"{user.id} lacks {lacking[True]} and has {lacking[False]} more than {users[0].id}"
        states = [user.state(room) for user in users]
        for user, state in zip(users[1:], states[1:]):
            assert state == states[0], f"{user.id}: {set(state.items()) ^ set(states[0].items())}"
        return True

    eventually("the same events and the same state everywhere", look, 120)


class Talker(threading.Thread):
    """A user who goes on writing, with the same transaction id until it was acknowledged."""

    def __init__(self, user, room):
        super().__init__(daemon=True)
        self.user, self.room, self.over, self.said = user, room, False, []

    def run(self):
        n = 0
        while not self.over:
            n += 1
            txn = self.user.next_txn()
            while not self.over:
                try:
                    self.said.append(self.user.say(self.room, f"{self.user.id} {n}", txn))
                    break
                except (OSError, Refused, ValueError):
                    time.sleep(0.1)
            time.sleep(0.05)


def crashes(world, room, ann, ben, carl):
    for server in world.servers:
        talkers = [Talker(user, room) for user in (ann, ben, carl)]
        for talker in talkers:
            talker.start()
        time.sleep(1.5)
        server.kill()
        time.sleep(1.0)
        server.start()
        time.sleep(1.5)
        for talker in talkers:
            talker.over = True
        for talker in talkers:
            talker.join(60)
        expense(ann, room, "Coffee", "2.00", [ann, ben])
        for user in (ann, ben, carl):
            user.say(room, "that was that")
        same_ledger(room, ann, ben)
        same_room(room, ann, ben, carl)
        everywhere = kinds(ann, room)
        for talker in talkers:
            assert talker.said, f"{talker.user.id} said nothing"
            lost = set(talker.said) - everywhere
            assert not lost, f"{len(lost)} acknowledged messages of {talker.user.id} are lost"
        print(f"crash: {server.kind} {server.name} killed in traffic and back", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True)
    parser.add_argument("--version", default="12")
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    with World(options.binary, keep=options.keep, version=options.version) as world:
        one = world.add(CliquePay)
        two = world.add(CliquePay)
        stock = world.add(Synapse)
        ann, ben, carl = one.user("ann"), two.user("ben"), stock.user("carl")
        room = dinner(ann, ben, carl, options.version)
        partition(world, room, ann, ben, carl)
        crashes(world, room, ann, ben, carl)
        for server in world.servers:
            status = server.stop()
            assert status == 0 or server.kind == "synapse", f"{server.name} ended with {status}\n{server.log()}"
            server.check()
    print("a dinner across servers: ok")


if __name__ == "__main__":
    sys.exit(main())
