#!/usr/bin/env python3
"""Encryption with matrix-nio: Ann logs in with a password, Ben through a provider, with a login token.

    encryption.py URL --provider JSON

Runs against any homeserver with open registration that knows the provider (browser/logins/provider.mjs; JSON is what that prints).
Prints a line for every step that held, and ends with status 1 at the first that does not.
"""

import argparse
import asyncio
import io
import json
import logging
import pathlib
import secrets
import sys
import tempfile
from dataclasses import dataclass, field

import nio
from dinner import PASSWORD, call, quote, register
from nio.crypto import SasState, decrypt_attachment

from sso import login_token

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "peers"))
from provider import TRUSTED  # noqa: E402

# Refusals are part of the scenario; the library warns of each.
logging.getLogger("nio").setLevel(logging.CRITICAL)

PATIENCE_SECONDS = 60
CONFIG = nio.AsyncClientConfig(store_sync_tokens=True, encryption_enabled=True, max_limit_exceeded=0, request_timeout=60)


async def eventually(what: str, look):
    """Looks until there is something to see, and gives it."""
    for _ in range(PATIENCE_SECONDS * 20):
        if found := look():
            return found
        await asyncio.sleep(0.05)
    raise AssertionError(f"never came: {what}")


@dataclass
class Device:
    """A client that keeps syncing. `events` are those that came by, decrypted where that was possible."""

    client: nio.AsyncClient
    events: list = field(default_factory=list)
    verifying: list = field(default_factory=list)
    loop: asyncio.Task | None = None

    def run(self) -> "Device":
        self.client.add_event_callback(lambda room, event: self.events.append((room.room_id, event)), nio.Event)
        self.client.add_to_device_callback(self.verifying.append, nio.KeyVerificationEvent)
        self.loop = asyncio.create_task(self.client.sync_forever(timeout=10_000))
        return self

    async def stop(self) -> None:
        self.loop.cancel()
        await asyncio.gather(self.loop, return_exceptions=True)
        await self.client.close()

    async def say(self, room_id: str, text: str) -> str:
        answer = await self.client.room_send(room_id, "m.room.message", {"msgtype": "m.text", "body": text})
        assert isinstance(answer, nio.RoomSendResponse), answer
        return answer.event_id

    async def sees(self, room_id: str, event_id: str) -> nio.Event:
        def look():
            if self.loop.done():
                self.loop.result()
            return next((event for room, event in self.events if room == room_id and event.event_id == event_id), None)

        return await eventually(f"{event_id} for {self.client.user_id}", look)

    async def reads(self, room_id: str, event_id: str, text: str) -> None:
        """Waits for a message, which was encrypted and could be decrypted."""
        event = await self.sees(room_id, event_id)
        assert isinstance(event, nio.RoomMessageText), event
        assert (event.body, event.decrypted) == (text, True), event

    def knows(self, other: "Device") -> nio.crypto.OlmDevice | None:
        """The device of somebody else, as this client has it."""
        mine = self.client.device_store[other.client.user_id]
        return mine.get(other.client.device_id)


@dataclass
class Scene:
    """Who and what the steps are about."""

    url: str
    provider: dict
    folder: pathlib.Path
    ben_id: str = ""
    ann: Device | None = None
    ben: Device | None = None
    second: Device | None = None
    room_id: str = ""
    said: list = field(default_factory=list)

    def client(self, user: str, name: str, device_id: str | None = None) -> nio.AsyncClient:
        """A client with a store of its own, the same for the same name."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        return nio.AsyncClient(self.url, user, device_id, store_path=str(folder), config=CONFIG)

    async def token(self) -> str:
        """A login token of Ben's, by way of the provider."""
        knows = {"username": "benno", "password": self.provider["password"], "localpart": "ben-of-nio"}
        flows = (await asyncio.to_thread(call, self.url, "GET", "/_matrix/client/v3/login"))["flows"]
        sso = next(flow for flow in flows if flow["type"] == "m.login.sso")
        assert any(flow["type"] == "m.login.token" for flow in flows), flows
        (one,) = sso["identity_providers"]
        assert one["name"] == "Example accounts", one
        return await asyncio.to_thread(login_token, self.url, one["id"], self.provider["app"] + TRUSTED, **knows)


async def log_in_with_a_password(scene: Scene) -> None:
    name = f"ann-{secrets.token_hex(4)}"
    guest = await register(scene.url, name)
    client = scene.client(guest.user_id, "ann")
    answer = await client.login("not the password")
    assert isinstance(answer, nio.LoginError) and answer.status_code == "M_FORBIDDEN", answer
    answer = await client.login(PASSWORD, device_name="Ann's phone")
    assert isinstance(answer, nio.LoginResponse), answer
    scene.ann = Device(client).run()


async def log_in_with_a_token(scene: Scene) -> None:
    """The token makes a session once, and no second one."""
    token = await scene.token()
    client = scene.client("", "ben")
    answer = await client.login(token=token, device_name="Ben's phone")
    assert isinstance(answer, nio.LoginResponse), answer
    assert answer.user_id.startswith("@ben"), answer
    scene.ben_id = answer.user_id
    again = scene.client("", "nobody")
    refused = await again.login(token=token)
    assert isinstance(refused, nio.LoginError) and refused.status_code == "M_FORBIDDEN", refused
    await again.close()
    scene.ben = Device(client).run()


async def make_a_room(scene: Scene) -> None:
    encryption = {"type": "m.room.encryption", "state_key": "", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}
    ann, ben = scene.ann.client, scene.ben.client
    answer = await ann.room_create(name="Dinner", invite=[scene.ben_id], initial_state=[encryption])
    assert isinstance(answer, nio.RoomCreateResponse), answer
    scene.room_id = answer.room_id
    await eventually("Ben's invitation", lambda: scene.room_id in ben.invited_rooms)
    joined = await ben.join(scene.room_id)
    assert isinstance(joined, nio.JoinResponse), joined
    for client in (ann, ben):
        await eventually("both in the room", lambda: len(getattr(client.rooms.get(scene.room_id), "users", ())) == 2)
        await eventually("encryption", lambda: client.rooms[scene.room_id].encrypted)
    for one, other in ((scene.ann, scene.ben), (scene.ben, scene.ann)):
        await eventually("the other's device", lambda: one.knows(other))


async def verify(scene: Scene) -> None:
    """Nothing is sent to a device that nobody vouches for; then each vouches for the other's, by emoji."""
    ann, ben = scene.ann, scene.ben
    try:
        await ann.say(scene.room_id, "Can you hear me?")
    except nio.OlmUnverifiedDeviceError:
        pass
    else:
        raise AssertionError("it was sent to an unverified device")
    started = await ann.client.start_key_verification(ann.knows(ben))
    assert isinstance(started, nio.ToDeviceResponse), started
    start = await eventually("the start", lambda: next((e for e in ben.verifying if isinstance(e, nio.KeyVerificationStart)), None))
    accepted = await ben.client.accept_key_verification(start.transaction_id)
    assert isinstance(accepted, nio.ToDeviceResponse), accepted
    # Keys go back and forth in the loops of both.
    sas = [device.client.key_verifications.get(start.transaction_id) for device in (ann, ben)]
    await eventually("the other's key", lambda: all(one.state is SasState.key_received for one in sas))
    assert sas[0].get_emoji() == sas[1].get_emoji() and len(sas[0].get_emoji()) == 7
    for device in (ann, ben):
        confirmed = await device.client.confirm_short_auth_string(start.transaction_id)
        assert isinstance(confirmed, nio.ToDeviceResponse), confirmed
    await eventually("trust", lambda: ann.knows(ben).verified and ben.knows(ann).verified)


async def talk(scene: Scene) -> None:
    for sender, reader, text in ((scene.ann, scene.ben, "Hungry?"), (scene.ben, scene.ann, "Always. Grüße 🍝"), (scene.ann, scene.ben, "At eight")):
        event_id = await sender.say(scene.room_id, text)
        for device in (reader, sender):
            await device.reads(scene.room_id, event_id, text)
        scene.said.append((event_id, text))
        path = f"/_matrix/client/v3/rooms/{quote(scene.room_id)}/event/{quote(event_id)}"
        stored = await asyncio.to_thread(call, scene.url, "GET", path, scene.ann.client.access_token)
        assert stored["type"] == "m.room.encrypted" and text not in json.dumps(stored, ensure_ascii=False), stored


async def send_a_file(scene: Scene) -> None:
    """A file that the server cannot read."""
    plain = secrets.token_bytes(100_000)
    answer, keys = await scene.ben.client.upload(io.BytesIO(plain), "image/png", "bill.png", encrypt=True, filesize=len(plain))
    assert isinstance(answer, nio.UploadResponse), answer
    place = {"url": answer.content_uri, "key": keys["key"], "iv": keys["iv"], "hashes": keys["hashes"], "v": "v2"}
    content = {"msgtype": "m.image", "body": "bill.png", "file": place, "info": {"mimetype": "image/png"}}
    sent = await scene.ben.client.room_send(scene.room_id, "m.room.message", content)
    event = await scene.ann.sees(scene.room_id, sent.event_id)
    assert isinstance(event, nio.RoomEncryptedImage), event
    file = await scene.ann.client.download(event.url)
    assert isinstance(file, nio.DownloadResponse), file
    assert file.body != plain
    assert decrypt_attachment(file.body, event.key["k"], event.hashes["sha256"], event.iv) == plain


async def come_back(scene: Scene) -> None:
    """Ben's client is closed and opened again: it goes on where it was, and reads what was said meanwhile, once."""
    old = scene.ben
    session = (old.client.user_id, old.client.device_id, old.client.access_token)
    since = old.client.next_batch
    await old.stop()
    missed = [(await scene.ann.say(scene.room_id, text), text) for text in ("Where are you?", "The table is ready")]
    client = scene.client(session[0], "ben", session[1])
    client.restore_login(*session)
    assert client.loaded_sync_token and since
    scene.ben = Device(client).run()
    for event_id, text in missed:
        await scene.ben.reads(scene.room_id, event_id, text)
        assert sum(event.event_id == event_id for _, event in scene.ben.events) == 1
    assert all(event.event_id != scene.said[0][0] for _, event in scene.ben.events), "it began anew"
    scene.said += missed


async def log_in_on_another_device(scene: Scene) -> None:
    """Ben's tablet comes with a token of its own and the keys from his phone. Ann hears of it before she can send anything on."""
    client = scene.client("", "tablet")
    answer = await client.login(token=await scene.token(), device_name="Ben's tablet")
    assert isinstance(answer, nio.LoginResponse) and answer.user_id == scene.ben_id, answer
    scene.second = Device(client).run()
    await eventually("the tablet in Ann's list", lambda: scene.ann.knows(scene.second))
    try:
        await scene.ann.say(scene.room_id, "Who is listening?")
    except nio.OlmUnverifiedDeviceError:
        pass
    else:
        raise AssertionError("it was sent to an unverified device")
    scene.ann.client.verify_device(scene.ann.knows(scene.second))
    await eventually("Ann's device on the tablet", lambda: scene.second.knows(scene.ann))
    event_id = await scene.ann.say(scene.room_id, "To both of you")
    for device in (scene.ben, scene.second):
        await device.reads(scene.room_id, event_id, "To both of you")
    keys = str(scene.folder / "keys.txt")
    await scene.ben.client.export_keys(keys, "a passphrase")
    await client.import_keys(keys, "a passphrase")
    page = await client.room_messages(scene.room_id, direction=nio.MessageDirection.back, limit=50)
    assert isinstance(page, nio.RoomMessagesResponse), page
    texts = {event.event_id: event.body for event in page.chunk if isinstance(event, nio.RoomMessageText)}
    assert all(texts.get(event_id) == text for event_id, text in scene.said), texts


async def log_out(scene: Scene) -> None:
    """The tablet goes; Ann's client hears of it."""
    tablet, scene.second = scene.second, None
    tablet.loop.cancel()
    await asyncio.gather(tablet.loop, return_exceptions=True)
    token = tablet.client.access_token
    answer = await tablet.client.logout()
    assert isinstance(answer, nio.LogoutResponse), answer
    await tablet.client.close()
    whoami = scene.client("", "nobody")
    whoami.restore_login(tablet.client.user_id or scene.ben_id, "X", token)
    refused = await whoami.whoami()
    assert isinstance(refused, nio.WhoamiError) and refused.status_code == "M_UNKNOWN_TOKEN", refused
    await whoami.close()
    mine = scene.ann.client.device_store[scene.ben_id]
    await eventually("a list without the tablet", lambda: len([one for one in mine.values() if not one.deleted]) == 1)


STEPS = (log_in_with_a_password, log_in_with_a_token, make_a_room, verify, talk, send_a_file, come_back, log_in_on_another_device, log_out)


async def play(url: str, provider: dict) -> None:
    with tempfile.TemporaryDirectory(prefix="cliquepay-nio-") as folder:
        scene = Scene(url, provider, pathlib.Path(folder))
        try:
            for step in STEPS:
                await step(scene)
                print(f"ok  {step.__name__}", flush=True)
        finally:
            for device in (scene.ann, scene.ben, scene.second):
                if device:
                    await device.stop()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="encryption with matrix-nio")
    parser.add_argument("url")
    parser.add_argument("--provider", required=True, type=json.loads, help="what the provider says of itself")
    arguments = parser.parse_args()
    asyncio.run(play(arguments.url.rstrip("/"), arguments.provider))
