#!/usr/bin/env python3
"""A dinner among three, as stock Matrix clients see it.

    dinner.py --url http://127.0.0.1:PORT             the chat: runs against any homeserver
    dinner.py --url http://127.0.0.1:PORT --ledger    the chat, then the expense, the settling and the lines in words

Ann and Ben use matrix-nio, Carl plain HTTP. The ledger steps call CliquePay's REST API (spec/api.md). Every step asserts
what each of them sees; the first assertion that fails ends the run with a non-zero status. The steps are functions of a
`Table`, so that another script (a browser test, say) can seat the same people and run some of them.
"""

import argparse
import asyncio
import ipaddress
import json
import secrets
import sys
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass, field
from decimal import Decimal

import nio

PASSWORD = "a long enough password"
LEDGER = "/_matrix/client/unstable/com.cliquepay/v1"
# A guest gives up after so many long polls of SYNC_MS each.
MAX_POLLS = 10
SYNC_MS = 3_000


class Refused(Exception):
    """The server answered with an error: `status` and the JSON `body`."""

    def __init__(self, path: str, status: int, body: dict):
        super().__init__(f"{path}: {status} {body}")
        self.status, self.body = status, body


def call(url: str, method: str, path: str, token: str | None = None, body: dict | None = None) -> dict:
    """One JSON request; raises Refused for an error status."""
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url + path, data=data, headers=headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        text = error.read().decode(errors="replace")
        try:
            parsed = json.loads(text)
        except ValueError:
            parsed = {"text": text}
        raise Refused(f"{method} {path}", error.code, parsed) from None


def quote(text: str) -> str:
    """A path segment."""
    return urllib.parse.quote(text, safe="")


@dataclass
class Guest:
    """Someone at the table. `client` is a stock client, or None for plain HTTP."""

    url: str
    user_id: str
    token: str
    client: nio.AsyncClient | None = None
    seen: dict[str, list] = field(default_factory=dict)

    async def call(self, method: str, path: str, body: dict | None = None) -> dict:
        """One request of this guest's own."""
        return await asyncio.to_thread(call, self.url, method, path, self.token, body)

    async def put(self, path: str, body: dict, txn: str | None = None) -> dict:
        """One writing request under a fresh transaction id."""
        return await self.call("PUT", f"{path}/{txn or secrets.token_hex(8)}", body)

    async def poll(self, timeout: int = SYNC_MS) -> nio.SyncResponse:
        """One sync of the stock client; what it brings is remembered in `seen`."""
        answer = await self.client.sync(timeout=timeout)
        assert isinstance(answer, nio.SyncResponse), f"{self.user_id}: {answer}"
        for room_id, room in answer.rooms.join.items():
            self.seen.setdefault(room_id, []).extend(room.timeline.events)
        return answer

    async def sees(self, room_id: str, what: str, matches) -> nio.Event:
        """Polls until an event of the room matches; fails where none comes."""
        for _ in range(MAX_POLLS):
            for event in self.seen.get(room_id, []):
                if matches(event):
                    return event
            await self.poll()
        kinds = [(event.source.get("type"), event.source.get("content")) for event in self.seen.get(room_id, [])]
        raise AssertionError(f"{self.user_id} never sees {what}; sees {kinds}")

    async def sees_text(self, room_id: str, sender: str, *parts: str) -> nio.RoomMessageText:
        """Polls until a text of `sender` holds all of `parts`."""

        def matches(event) -> bool:
            is_text = isinstance(event, nio.RoomMessageText) and event.sender == sender
            return is_text and all(part in event.body for part in parts)

        return await self.sees(room_id, f"a message of {sender} with {parts}", matches)


@dataclass
class Table:
    """The people of the scenario and their room."""

    url: str
    ann: Guest
    ben: Guest
    carl: Guest
    room_id: str = ""
    expense_id: str = ""

    @property
    def ledger_path(self) -> str:
        return f"{LEDGER}/rooms/{quote(self.room_id)}/ledger"

    async def close(self) -> None:
        for guest in (self.ann, self.ben):
            await guest.client.close()


async def register(url: str, name: str) -> Guest:
    """Registers by m.login.dummy in one request."""
    body = {"username": name, "password": PASSWORD, "auth": {"type": "m.login.dummy"}}
    answer = await asyncio.to_thread(call, url, "POST", "/_matrix/client/v3/register", None, body)
    return Guest(url, answer["user_id"], answer["access_token"])


async def log_in(guest: Guest) -> None:
    """Logs a stock client in with the password, as a second device."""
    config = nio.AsyncClientConfig(encryption_enabled=False, max_limit_exceeded=0, request_timeout=60)
    guest.client = nio.AsyncClient(guest.url, guest.user_id, config=config)
    answer = await guest.client.login(PASSWORD, device_name="dinner")
    assert isinstance(answer, nio.LoginResponse), answer
    assert answer.user_id == guest.user_id, answer
    who = await guest.client.whoami()
    assert who.user_id == guest.user_id and who.device_id == answer.device_id, who
    await guest.poll(timeout=0)


async def seat(url: str) -> Table:
    """Registers three people and logs two stock clients in."""
    tag = secrets.token_hex(4)
    guests = [await register(url, f"{name}-{tag}") for name in ("ann", "ben", "carl")]
    for guest in guests[:2]:
        await log_in(guest)
    return Table(url, *guests)


async def make_room(table: Table) -> None:
    """Ann makes a room and invites; Ben is asked and joins by his client, Carl by HTTP."""
    ann, ben, carl = table.ann, table.ben, table.carl
    answer = await ann.client.room_create(
        name="Friday dinner", preset=nio.RoomPreset.private_chat, invite=[ben.user_id]
    )
    assert isinstance(answer, nio.RoomCreateResponse), answer
    table.room_id = answer.room_id
    invited = await ann.client.room_invite(table.room_id, carl.user_id)
    assert isinstance(invited, nio.RoomInviteResponse), invited
    for _ in range(MAX_POLLS):
        await ben.poll()
        if table.room_id in ben.client.invited_rooms:
            break
    invitation = ben.client.invited_rooms[table.room_id]
    assert invitation.inviter == ann.user_id, invitation.inviter
    assert invitation.name == "Friday dinner", invitation.name
    joined = await ben.client.join(table.room_id)
    assert isinstance(joined, nio.JoinResponse), joined
    await carl.call("POST", f"/_matrix/client/v3/join/{quote(table.room_id)}", {})


async def see_each_other(table: Table) -> None:
    """Both stock clients know the room, its name and its three members."""
    everyone = {table.ann.user_id, table.ben.user_id, table.carl.user_id}
    for guest in (table.ann, table.ben):
        for _ in range(MAX_POLLS):
            room = guest.client.rooms.get(table.room_id)
            if room and set(room.users) - set(room.invited_users) == everyone:
                break
            await guest.poll()
        room = guest.client.rooms[table.room_id]
        assert set(room.users) == everyone, room.users
        assert room.name == "Friday dinner", room.name
        assert not room.encrypted
    members = await table.ben.client.joined_members(table.room_id)
    assert {member.user_id for member in members.members} == everyone, members


async def chat(table: Table) -> None:
    """Words in both directions, each seen once by the other."""
    lines = [(table.ann, table.ben, "Who is hungry?"), (table.ben, table.ann, "I am. Grüße 🍝"), (table.ann, table.ben, "At eight.")]
    for sender, reader, text in lines:
        answer = await sender.client.room_send(table.room_id, "m.room.message", {"msgtype": "m.text", "body": text})
        assert isinstance(answer, nio.RoomSendResponse), answer
        event = await reader.sees_text(table.room_id, sender.user_id, text)
        assert (event.event_id, event.body) == (answer.event_id, text), event
    for guest in (table.ann, table.ben):
        ids = [event.event_id for event in guest.seen[table.room_id]]
        assert len(ids) == len(set(ids)), "an event came twice"


async def repeat_transaction(table: Table) -> None:
    """The same transaction id is the same event."""
    body, txn = {"msgtype": "m.text", "body": "once only"}, secrets.token_hex(8)
    first = await table.ann.client.room_send(table.room_id, "m.room.message", body, tx_id=txn)
    again = await table.ann.client.room_send(table.room_id, "m.room.message", body, tx_id=txn)
    assert first.event_id == again.event_id, (first, again)
    await table.ben.sees_text(table.room_id, table.ann.user_id, "once only")
    await table.ann.client.room_send(table.room_id, "m.room.message", {"msgtype": "m.text", "body": "after it"})
    await table.ben.sees_text(table.room_id, table.ann.user_id, "after it")
    copies = [event for event in table.ben.seen[table.room_id] if getattr(event, "body", "") == "once only"]
    assert len(copies) == 1, copies


async def redact(table: Table) -> None:
    """A redacted message is gone for whoever looks later."""
    sent = await table.ben.client.room_send(table.room_id, "m.room.message", {"msgtype": "m.text", "body": "a secret"})
    await table.ann.sees_text(table.room_id, table.ben.user_id, "a secret")
    gone = await table.ben.client.room_redact(table.room_id, sent.event_id, "too soon")
    assert isinstance(gone, nio.RoomRedactResponse), gone

    def is_redaction(event) -> bool:
        return isinstance(event, nio.RedactionEvent) and event.redacts == sent.event_id

    await table.ann.sees(table.room_id, "the redaction", is_redaction)
    page = await history(table.ann, table.room_id)
    assert any(isinstance(event, nio.RedactedEvent) and event.event_id == sent.event_id for event in page), page
    assert not any("a secret" in json.dumps(event.source) for event in page)


async def receipts(table: Table) -> None:
    """Ann learns what Ben has read."""
    last = table.ben.seen[table.room_id][-1].event_id
    marked = await table.ben.client.room_read_markers(table.room_id, last, last)
    assert isinstance(marked, nio.RoomReadMarkersResponse), marked
    for _ in range(MAX_POLLS):
        receipt = table.ann.client.rooms[table.room_id].read_receipts.get(table.ben.user_id)
        if receipt and receipt.event_id == last:
            return
        await table.ann.poll()
    raise AssertionError("Ann never sees Ben's receipt")


async def history(guest: Guest, room_id: str) -> list:
    """The whole room as a stock client pages it, oldest first."""
    events, start = [], None
    for _ in range(100):
        page = await guest.client.room_messages(room_id, start=start, direction=nio.MessageDirection.back, limit=7)
        assert isinstance(page, nio.RoomMessagesResponse), page
        events.extend(page.chunk)
        if not page.end or page.end == start:
            break
        start = page.end
    return events[::-1]


async def same_history(table: Table) -> None:
    """Paging gives both the same events, and those that they saw come by, in the same order."""
    pages = [[event.event_id for event in await history(guest, table.room_id)] for guest in (table.ann, table.ben)]
    assert pages[0] == pages[1], pages
    for guest in (table.ann, table.ben):
        seen = [event.event_id for event in guest.seen[table.room_id]]
        assert [event for event in pages[0] if event in set(seen)] == seen, "order"


async def open_ledger(table: Table) -> None:
    """Ann opens a ledger in the room; nobody owes anything, and a second one is refused."""
    versions = await table.ann.call("GET", "/_matrix/client/versions")
    assert versions["unstable_features"]["com.cliquepay"] is True, versions
    answer = await table.ann.put(table.ledger_path, {"currency": "EUR"})
    assert answer["room_id"] == table.room_id, answer
    for guest in (table.ann, table.ben, table.carl):
        await balances_are(guest, table, {})
    try:
        await table.ben.put(table.ledger_path, {"currency": "EUR"})
    except Refused as error:
        assert error.status in (403, 409), error
    else:
        raise AssertionError("a second ledger was opened")


async def balances_are(guest: Guest, table: Table, expected: dict[str, str]) -> dict:
    """The ledger's balances as `guest` reads them; who is left out has none."""
    ledger = await guest.call("GET", table.ledger_path)
    amounts = {entry["who"]: entry["amount"] for entry in ledger["balances"] if Decimal(entry["amount"]) != 0}
    assert all(entry["currency"] == "EUR" for entry in ledger["balances"]), ledger["balances"]
    assert amounts == expected, (amounts, expected)
    return ledger


def dinner_expense(table: Table, **changes) -> dict:
    """84.00 EUR for three, equally."""
    inputs = [{"who": guest.user_id} for guest in (table.ann, table.ben, table.carl)]
    content = {"title": "Dinner", "currency": "EUR", "amount": "84.00", "split": {"method": "equal", "inputs": inputs}}
    return {"type": "com.cliquepay.expense", "content": content | changes}


async def add_expense(table: Table) -> None:
    """Ann paid 84.00 for three: 28.00 each. A repeated request adds nothing."""
    ann, ben, carl = table.ann.user_id, table.ben.user_id, table.carl.user_id
    path, txn = f"{table.ledger_path}/entries", secrets.token_hex(8)
    answer = await table.ann.put(path, dinner_expense(table), txn)
    again = await table.ann.put(path, dinner_expense(table), txn)
    assert again["event_id"] == answer["event_id"], (again, answer)
    table.expense_id = answer["event_id"]
    entry = answer["entry"]
    assert (entry["status"], entry["sender"]) == ("counts", ann), entry
    owed = {line["who"]: line["amount"] for line in entry["content"]["owed"]}
    assert owed == {ann: "28.00", ben: "28.00", carl: "28.00"}, owed
    assert [(line["who"], line["amount"]) for line in entry["content"]["paid"]] == [(ann, "84.00")], entry
    ledgers = [await balances_are(guest, table, {ann: "56.00", ben: "-28.00", carl: "-28.00"}) for guest in (table.ann, table.ben)]
    assert ledgers[0]["digest"] == ledgers[1]["digest"]
    for view in ("pairwise", "edges", "minimal"):
        transfers = ledgers[0]["plans"][view]["transfers"]
        found = {(one["from"], one["to"], one["amount"], one["currency"]) for one in transfers}
        assert found == {(ben, ann, "28.00", "EUR"), (carl, ann, "28.00", "EUR")}, (view, transfers)


async def see_lines(table: Table) -> None:
    """Both stock clients get the entry, which they do not know, and one line in words, which they show."""
    for guest in (table.ann, table.ben):
        line = await guest.sees_text(table.room_id, table.ann.user_id, "Dinner", "84.00", "28.00")
        relation = line.source["content"]["m.relates_to"]
        assert relation["event_id"] == table.expense_id, relation

        def is_entry(event) -> bool:
            return event.event_id == table.expense_id

        entry = await guest.sees(table.room_id, "the entry", is_entry)
        assert entry.source["type"] == "com.cliquepay.expense", entry.source
        lines = [event for event in guest.seen[table.room_id] if "84.00" in getattr(event, "body", "")]
        assert len(lines) == 1, lines


async def refuse_bad_input(table: Table) -> None:
    """What does not add up is refused with the field's name, and changes nothing."""
    exact = {"method": "exact", "inputs": [{"who": table.ann.user_id, "value": "50.00"}, {"who": table.ben.user_id, "value": "33.00"}]}
    twice = {"method": "equal", "inputs": [{"who": table.ben.user_id}, {"who": table.ben.user_id}]}
    stranger = {"method": "equal", "inputs": [{"who": "@nobody:elsewhere.test"}]}
    before = await table.ann.call("GET", table.ledger_path)
    for changes in ({"amount": "84.0"}, {"amount": "84.000"}, {"split": exact}, {"split": twice}, {"split": stranger}):
        try:
            await table.ann.put(f"{table.ledger_path}/entries", dinner_expense(table, **changes))
        except Refused as error:
            assert error.status == 400, error
            assert error.body["errcode"] == "M_INVALID_PARAM" and error.body["field"], error
        else:
            raise AssertionError(f"accepted: {changes}")
    after = await table.ann.call("GET", table.ledger_path)
    assert (before["digest"], before["entries"]) == (after["digest"], after["entries"])


async def settle(table: Table, payer: Guest, remaining: dict[str, str], settled: dict[str, str]) -> None:
    """`payer` pays Ann 28.00: pending until Ann confirms; `remaining` before, `settled` after."""
    content = {"from": payer.user_id, "to": table.ann.user_id, "currency": "EUR", "amount": "28.00"}
    path = f"{table.ledger_path}/entries"
    answer = await payer.put(path, {"type": "com.cliquepay.settlement", "content": content})
    assert answer["entry"]["status"] == "pending", answer
    ledger = await balances_are(table.ann, table, remaining)
    assert [entry["event_id"] for entry in ledger["pending"]] == [answer["event_id"]], ledger["pending"]
    assert payer.user_id not in {one["from"] for one in ledger["plans"]["edges"]["transfers"]}, ledger["plans"]
    verdict = {"type": "com.cliquepay.verdict", "content": {"target": answer["event_id"], "verdict": "confirmed"}}
    await table.ann.put(path, verdict)
    for guest in (table.ann, table.ben, table.carl):
        ledger = await balances_are(guest, table, settled)
        assert ledger["pending"] == [], ledger["pending"]
    entry = await payer.call("GET", f"{path}/{quote(answer['event_id'])}")
    assert entry["status"] == "counts", entry
    for guest in (table.ann, table.ben):
        line = await guest.sees_text(table.room_id, payer.user_id, "28.00")
        assert line.source["content"]["m.relates_to"]["event_id"] == answer["event_id"], line.source


async def settle_up(table: Table) -> None:
    """Ben and Carl pay, Ann confirms, everybody is even."""
    ann, ben, carl = table.ann.user_id, table.ben.user_id, table.carl.user_id
    half = {ann: "28.00", carl: "-28.00"}
    await settle(table, table.ben, {ann: "56.00", ben: "-28.00", carl: "-28.00"}, half)
    await settle(table, table.carl, half, {})
    digests = {(await guest.call("GET", table.ledger_path))["digest"] for guest in (table.ann, table.ben, table.carl)}
    assert len(digests) == 1, digests
    for guest in (table.ann, table.ben, table.carl):
        groups = (await guest.call("GET", f"{LEDGER}/groups"))["groups"]
        own = [group for group in groups if group["room_id"] == table.room_id]
        assert len(own) == 1, groups
        assert all(Decimal(balance["amount"]) == 0 for balance in own[0]["balances"]), own


CHAT_STEPS = (make_room, see_each_other, chat, repeat_transaction, redact, receipts, same_history)
LEDGER_STEPS = (open_ledger, add_expense, see_lines, refuse_bad_input, settle_up, same_history)


async def run(url: str, ledger: bool) -> None:
    """Seats the guests and runs the steps in order."""
    table = await seat(url)
    try:
        for step in CHAT_STEPS + (LEDGER_STEPS if ledger else ()):
            await step(table)
            print(f"ok  {step.__name__}: {(step.__doc__ or '').splitlines()[0]}", flush=True)
    finally:
        await table.close()


def loopback(url: str) -> str:
    """Refuses every server that is not on this machine."""
    host = urllib.parse.urlsplit(url).hostname or ""
    if host != "localhost" and not ipaddress.ip_address(host).is_loopback:
        raise argparse.ArgumentTypeError(f"{host} is not a loopback address")
    return url.rstrip("/")


def main() -> None:
    parser = argparse.ArgumentParser(description="a dinner among three, as stock Matrix clients see it")
    parser.add_argument("--url", required=True, type=loopback, help="the server, on a loopback address")
    parser.add_argument("--ledger", action="store_true", help="also the steps that need CliquePay's ledger API")
    arguments = parser.parse_args()
    try:
        asyncio.run(run(arguments.url, arguments.ledger))
    except (AssertionError, Refused) as error:
        sys.exit(f"FAILED: {type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
