#!/usr/bin/env python3
"""Guests with stock Matrix clients (matrix-nio), led from outside.

    guests.py --url http://127.0.0.1:PORT

Reads one JSON object a line, `{"do": COMMAND, …}`, and answers each with one line: `{"ok": …}` or `{"error": "…"}`. The
commands are the functions below; their arguments are the object's other fields. Ends with its standard input.
"""

import argparse
import asyncio
import json
import pathlib
import sys
from decimal import Decimal

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "stock"))
import nio
from dinner import LEDGER, MAX_POLLS, Guest, Refused, log_in, loopback, quote, register


class Guests:
    """Those who have been seated, by name."""

    def __init__(self, url: str):
        self.url = url
        self.seated: dict[str, Guest] = {}

    async def seat(self, who: str, name: str) -> str:
        """Registers an account called `name` and logs a stock client in; gives the user id."""
        guest = await register(self.url, name)
        await log_in(guest)
        self.seated[who] = guest
        return guest.user_id

    async def join(self, who: str, room_id: str) -> None:
        """Waits for the invitation, and accepts it."""
        guest = self.seated[who]
        for _ in range(MAX_POLLS):
            if room_id in guest.client.invited_rooms:
                break
            await guest.poll()
        assert room_id in guest.client.invited_rooms, f"{guest.user_id} was never invited"
        joined = await guest.client.join(room_id)
        assert isinstance(joined, nio.JoinResponse), joined

    async def members(self, who: str, room_id: str, expected: list[str]) -> None:
        """Waits until the client knows exactly these members."""
        guest = self.seated[who]
        for _ in range(MAX_POLLS):
            room = guest.client.rooms.get(room_id)
            known = set(room.users) - set(room.invited_users) if room else set()
            if known == set(expected):
                return
            await guest.poll()
        raise AssertionError(f"{guest.user_id} knows {known}, not {expected}")

    async def say(self, who: str, room_id: str, text: str) -> str:
        """Sends a message; gives its event id."""
        content = {"msgtype": "m.text", "body": text}
        answer = await self.seated[who].client.room_send(room_id, "m.room.message", content)
        assert isinstance(answer, nio.RoomSendResponse), answer
        return answer.event_id

    async def sees(self, who: str, room_id: str, sender: str, parts: list[str]) -> str:
        """Waits for a text of `sender` that holds all of `parts`, and that comes once; gives the text."""
        guest = self.seated[who]
        found = await guest.sees_text(room_id, sender, *parts)
        copies = [event for event in guest.seen[room_id] if event.event_id == found.event_id]
        assert len(copies) == 1, copies
        return found.body

    async def pay(self, who: str, room_id: str, to: str, amount: str) -> None:
        """Writes down a payment of so many euros, over the ledger's REST API."""
        guest = self.seated[who]
        content = {"from": guest.user_id, "to": to, "currency": "EUR", "amount": amount}
        path = f"{LEDGER}/rooms/{quote(room_id)}/ledger/entries"
        answer = await guest.put(path, {"type": "com.cliquepay.settlement", "content": content})
        assert answer["entry"]["status"] == "pending", answer

    async def balances(self, who: str, room_id: str) -> dict[str, str]:
        """What the ledger says that each is owed, in euros; who is even is left out."""
        ledger = await self.seated[who].call("GET", f"{LEDGER}/rooms/{quote(room_id)}/ledger")
        assert all(entry["currency"] == "EUR" for entry in ledger["balances"]), ledger["balances"]
        return {entry["who"]: entry["amount"] for entry in ledger["balances"] if Decimal(entry["amount"]) != 0}


COMMANDS = {name: getattr(Guests, name) for name in ("seat", "join", "members", "say", "sees", "pay", "balances")}


async def answer(guests: Guests, line: str) -> dict:
    """Runs one command."""
    command = json.loads(line)
    try:
        return {"ok": await COMMANDS[command.pop("do")](guests, **command)}
    except (AssertionError, Refused) as error:
        return {"error": f"{type(error).__name__}: {error}"}


async def serve(url: str) -> None:
    """Answers commands until there are no more."""
    guests = Guests(url)
    try:
        while line := await asyncio.to_thread(sys.stdin.readline):
            print(json.dumps(await answer(guests, line)), flush=True)
    finally:
        for guest in guests.seated.values():
            await guest.client.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="guests with stock Matrix clients, led from outside")
    parser.add_argument("--url", required=True, type=loopback, help="the server, on a loopback address")
    asyncio.run(serve(parser.parse_args().url))
