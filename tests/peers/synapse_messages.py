#!/usr/bin/env python3
"""Puts messages into a stopped throwaway Synapse, straight into its database: a hundred thousand take it an hour over HTTP.

    synapse_messages.py DIR STATE COUNT < lines

DIR: the folder of `synapse.py start`, whose server is stopped. STATE: what `clienttest fill` wrote, changed accordingly. COUNT: messages
in all rooms that are searched, those that are there included. A message a line comes on standard input: `clienttest words --count N`.

Each is an event as Synapse itself would have made it after the room's last one: same state, same auth events, the next depth, its id
the hash that Synapse computes. They are not signed, which nobody looks at. Run it with the Python of Synapse's own environment.
"""

import base64
import hashlib
import json
import pathlib
import sqlite3
import sys

# In this folder `synapse` is a script of ours.
sys.path.pop(0)
from synapse.api.room_versions import KNOWN_ROOM_VERSIONS  # noqa: E402
from synapse.crypto.event_signing import compute_content_hash  # noqa: E402
from synapse.events import make_event_from_dict  # noqa: E402

EVENTS = (
    "insert into events (stream_ordering, topological_ordering, event_id, type, room_id, processed, outlier, depth,"
    " origin_server_ts, received_ts, sender, contains_url, instance_name) values (?,?,?,?,?,1,0,?,?,?,?,0,'master')"
)


class Room:
    """One room's end, on which messages are put."""

    def __init__(self, db: sqlite3.Connection, room_id: str):
        self.room_id = room_id
        row = db.execute(
            "select event_id, topological_ordering from events where room_id = ? and type = 'm.room.message'"
            " order by stream_ordering desc limit 1",
            (room_id,),
        ).fetchone()
        self.last, self.depth = row
        self.metadata, text, self.format = db.execute(
            "select internal_metadata, json, format_version from event_json where event_id = ?", (self.last,)
        ).fetchone()
        self.template = json.loads(text)
        (self.group,) = db.execute("select state_group from event_to_state_groups where event_id = ?", (self.last,)).fetchone()
        (version,) = db.execute("select room_version from rooms where room_id = ?", (room_id,)).fetchone()
        self.version = KNOWN_ROOM_VERSIONS[version]

    def add(self, db: sqlite3.Connection, position: int, body: str) -> None:
        """One more message."""
        self.depth += 1
        event = dict(self.template, depth=self.depth, prev_events=[self.last], content={"msgtype": "m.text", "body": body})
        event["origin_server_ts"] += self.depth
        event.pop("unsigned", None)
        event["signatures"] = {}
        name, digest = compute_content_hash(event, hashlib.sha256)
        event["hashes"] = {name: base64.b64encode(digest).decode().rstrip("=")}
        event_id = make_event_from_dict(event, self.version).event_id
        ts = event["origin_server_ts"]
        sender = event["sender"]
        db.execute(EVENTS, (position, self.depth, event_id, event["type"], self.room_id, self.depth, ts, ts, sender))
        metadata = json.dumps(dict(json.loads(self.metadata), stream_ordering=position))
        db.execute(
            "insert into event_json (event_id, room_id, internal_metadata, json, format_version) values (?,?,?,?,?)",
            (event_id, self.room_id, metadata, json.dumps(event), self.format),
        )
        db.execute("insert into event_to_state_groups values (?,?)", (event_id, self.group))
        db.execute("insert into event_edges (event_id, prev_event_id, is_state) values (?,?,0)", (event_id, self.last))
        db.execute(
            "insert into event_search (event_id, room_id, sender, key, value) values (?,?,?,'content.body',?)",
            (event_id, self.room_id, sender, body),
        )
        self.last = event_id

    def close(self, db: sqlite3.Connection) -> None:
        """The room ends in the last message now."""
        db.execute("delete from event_forward_extremities where room_id = ?", (self.room_id,))
        db.execute("insert into event_forward_extremities (event_id, room_id) values (?,?)", (self.last, self.room_id))


def main() -> None:
    folder, state_path, count = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), int(sys.argv[3])
    state = json.loads(state_path.read_text())
    db = sqlite3.connect(folder / "homeserver.db")
    named = "select room_id from room_stats_state where name like 'talk %' order by name"
    rooms = [Room(db, room_id) for (room_id,) in db.execute(named).fetchall()]
    (position,) = db.execute("select max(stream_ordering) from events").fetchone()
    for number in range(count - state["messages"]):
        position += 1
        rooms[number % len(rooms)].add(db, position, sys.stdin.readline().rstrip("\n"))
    for room in rooms:
        room.close(db)
    db.commit()
    db.execute("insert into event_search(event_search) values ('optimize')")
    db.commit()
    state.update(messages=count, messages_per_room=count // len(rooms))
    state_path.write_text(json.dumps(state, indent=2))
    print(f"{count} messages in {len(rooms)} rooms")


if __name__ == "__main__":
    main()
