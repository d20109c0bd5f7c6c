#!/usr/bin/env python3
"""A ledger that was kept on a stock server: Carl and Dora, on Synapse, write its entries as raw events; Ben, on a CliquePay server, is there
all along and writes one as well. Then Ann comes, on a CliquePay server that reaches nobody but Synapse: she gets every entry, is told that
nothing is missing, and has the same digest as Ben.

    stock_ledger.py --binary PATH [--version 12] [--keep]
"""

import argparse
import sys

from dinner import balances, expense
from world import CliquePay, Synapse, World, eventually


class Book:
    """Entries as a client writes them that knows the protocol and has no server for it."""

    def __init__(self, room, create):
        self.room, self.relation = room, {"rel_type": "m.reference", "event_id": create}
        self.root, self.count = None, 0

    def open(self, user):
        content = {"version": 1, "currency": "EUR", "m.relates_to": self.relation}
        self.root = user.send(self.room, "com.cliquepay.open", content)
        user.set_state(self.room, "com.cliquepay.ledger", "", {"ledger": self.root})

    def dinner(self, payer, other, prev):
        self.count += 1
        content = {
            "open": self.root, "prev": prev, "uid": f"raw-{self.count}", "title": f"Dinner {self.count}",
            "date": "2026-01-01", "currency": "EUR", "amount": "12.00", "split": {"method": "equal"},
            "paid": [{"who": payer.id, "amount": "12.00"}], "owed": [{"who": other.id, "amount": "12.00"}],
            "m.relates_to": self.relation,
        }
        return payer.send(self.room, "com.cliquepay.expense", content)


def write(book, ben, carl, dora):
    """Entries far apart, under names that changed since, one of them redacted and cited."""
    last = book.root
    for n in range(5):
        carl.set_state(book.room, "m.room.member", carl.id, {"membership": "join", "displayname": f"Carl {n}"})
        last = book.dinner(carl, dora, [last])
        for line in range(30):
            dora.say(book.room, f"{n}.{line}")
        last = book.dinner(dora, carl, [last])
    slip = book.dinner(carl, dora, [last])
    last = book.dinner(dora, carl, [slip])
    carl.call("PUT", f"/_matrix/client/v3/rooms/{book.room}/redact/{slip}/{carl.next_txn()}", {})
    eventually("ben has all of it", lambda: ben.ledger(book.room)["entries"] >= 13 and not ben.ledger(book.room)["missing"])
    expense(ben, book.room, "Taxi", "9.00", [ben, carl, dora])
    return last


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True)
    parser.add_argument("--version", default="12")
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    with World(options.binary, keep=options.keep, version=options.version) as world:
        there, stock = world.add(CliquePay), world.add(Synapse)
        # Ben's server cannot be reached when Ann comes: Synapse vouches for its key.
        late = world.add(type("Late", (CliquePay,), {"key_servers": (stock.name,)}))
        ann, ben, carl, dora = late.user("ann"), there.user("ben"), stock.user("carl"), stock.user("dora")
        room = carl.create_room(options.version, name="Lisbon", preset="public_chat")
        create = next(event for event in carl.call("GET", f"/_matrix/client/v3/rooms/{room}/state") if event["type"] == "m.room.create")
        dora.join(room)
        ben.join(room, stock)
        book = Book(room, create["event_id"])
        book.open(carl)
        write(book, ben, carl, dora)
        eventually("the taxi is on synapse", lambda: any(
            event["type"] == "com.cliquepay.expense" and event["sender"] == ben.id for event in carl.messages(room)
        ))
        # Nobody but Synapse can be reached from here on.
        world.wires.cut(there.address)
        ann.join(room, stock)

        def same():
            mine, theirs = ann.ledger(room), ben.ledger(room)
            assert mine["complete"], f"{mine['entries']} entries, missing: {mine['missing']}"
            assert mine["digest"] == theirs["digest"], f"{mine['entries']} and {theirs['entries']} entries"
            return mine

        ledger = eventually("the same ledger on both servers", same, 90)
        # Carl paid for five, Dora for six, Ben for a taxi by three.
        assert balances(ledger) == {ben.id: "6.00", carl.id: "-15.00", dora.id: "9.00"}, balances(ledger)
        print("a late server: every entry from Synapse alone, complete, same digest", flush=True)
        late.kill()
        late.start()
        eventually("the same after a restart", same, 90)
        for server in world.servers:
            status = server.stop()
            assert status == 0 or server.kind == "synapse", f"{server.name} ended with {status}\n{server.log()}"
            server.check()
    print("a ledger from a stock server: ok")


if __name__ == "__main__":
    sys.exit(main())
