// Accounts, rooms and the event stream of the mock server, all in memory.
import { randomBytes } from "node:crypto";

const id = () => randomBytes(12).toString("base64url");

export class World {
  constructor(serverName) {
    this.serverName = serverName;
    this.users = new Map(); // user id → {password, displayname}
    this.tokens = new Map(); // token → {userId, deviceId}
    this.rooms = new Map();
    this.position = 0;
    this.waiting = new Set();
    this.answers = new Map(); // device + path → answer, for repeated transactions
  }

  addUser(localpart, password, displayname) {
    const userId = `@${localpart}:${this.serverName}`;
    this.users.set(userId, { password, displayname });
    return userId;
  }

  newToken(userId) {
    const token = `mock_${id()}`;
    const deviceId = id().slice(0, 10).toUpperCase();
    this.tokens.set(token, { userId, deviceId });
    return { user_id: userId, access_token: token, device_id: deviceId, home_server: this.serverName };
  }

  createRoom(creator, { name, invite = [], ts }) {
    const room = new Room(`!${id()}:${this.serverName}`, this);
    this.rooms.set(room.roomId, room);
    room.createId = room.state(creator, "m.room.create", "", { room_version: "12" }, ts).event_id;
    room.member(creator, creator, "join", ts);
    room.state(creator, "m.room.power_levels", "", { users: { [creator]: 100 } }, ts);
    room.state(creator, "m.room.join_rules", "", { join_rule: "invite" }, ts);
    room.state(creator, "m.room.history_visibility", "", { history_visibility: "shared" }, ts);
    if (name) room.state(creator, "m.room.name", "", { name }, ts);
    for (const userId of invite) room.member(creator, userId, "invite", ts);
    return room;
  }

  wake() {
    for (const resolve of this.waiting) resolve();
    this.waiting.clear();
  }

  news(timeoutMs) {
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        this.waiting.delete(done);
        resolve();
      };
      const timer = setTimeout(done, timeoutMs);
      this.waiting.add(done);
    });
  }

  sync(device, since, limit) {
    const join = {};
    const invite = {};
    const leave = {};
    for (const room of this.rooms.values()) {
      const own = room.current("m.room.member", device.userId);
      if (!own) continue;
      const fresh = own.position > since;
      if (own.content.membership === "join") {
        const update = room.updateFor(device, fresh ? 0 : since, limit);
        if (update) join[room.roomId] = update;
      } else if (own.content.membership === "invite" && fresh) {
        invite[room.roomId] = { invite_state: { events: room.stripped(device.userId) } };
      } else if (own.content.membership !== "invite" && fresh && since > 0) {
        leave[room.roomId] = { timeline: { events: [] } };
      }
    }
    const empty = !Object.keys(join).length && !Object.keys(invite).length && !Object.keys(leave).length;
    return { empty, body: { next_batch: `s${this.position}`, rooms: { join, invite, leave } } };
  }
}

export class Room {
  constructor(roomId, world) {
    this.roomId = roomId;
    this.world = world;
    this.events = [];
    this.lines = new Map(); // entry → line in words
    this.open = undefined;
  }

  append(sender, type, content, { stateKey, device, txnId, ts } = {}) {
    this.world.position += 1;
    const previous = stateKey === undefined ? undefined : this.current(type, stateKey);
    const event = {
      event_id: `$${id()}`, type, sender, content,
      origin_server_ts: ts ?? Date.now(),
      position: this.world.position,
      ...(stateKey === undefined ? {} : { state_key: stateKey }),
      ...(previous ? { prev: previous.content } : {}),
      ...(txnId ? { txnId, device: device.deviceId } : {}),
    };
    this.events.push(event);
    this.world.wake();
    return event;
  }

  state(sender, type, stateKey, content, ts) {
    return this.append(sender, type, content, { stateKey, ts });
  }

  member(sender, userId, membership, ts) {
    const displayname = this.world.users.get(userId)?.displayname;
    return this.state(sender, "m.room.member", userId, { membership, ...(displayname ? { displayname } : {}) }, ts);
  }

  current(type, stateKey) {
    return this.events.findLast((event) => event.type === type && event.state_key === stateKey);
  }

  get name() {
    return this.current("m.room.name", "")?.content.name ?? "";
  }

  nameOf(userId) {
    return this.current("m.room.member", userId)?.content.displayname ?? userId;
  }

  /** Joined and invited people, by user id. */
  members() {
    const result = new Map();
    for (const event of this.events) {
      if (event.type !== "m.room.member") continue;
      if (event.content.membership === "leave" || event.content.membership === "ban") result.delete(event.state_key);
      else result.set(event.state_key, event);
    }
    return result;
  }

  isJoined(userId) {
    return this.current("m.room.member", userId)?.content.membership === "join";
  }

  heads() {
    const last = this.events.findLast((event) => event.type.startsWith("com.cliquepay.") && event.state_key === undefined);
    return last ? [last.event_id] : [];
  }

  clientEvent(event, device) {
    const unsigned = {
      ...(event.prev ? { prev_content: event.prev } : {}),
      ...(event.device && event.device === device?.deviceId ? { transaction_id: event.txnId } : {}),
    };
    const { event_id, type, sender, content, origin_server_ts, state_key } = event;
    return { event_id, type, sender, content, origin_server_ts, unsigned, ...(state_key === undefined ? {} : { state_key }) };
  }

  stripped(userId) {
    const inviter = this.current("m.room.member", userId)?.sender;
    const keep = (event) => event.type === "m.room.name" || (event.type === "m.room.member" && [userId, inviter].includes(event.state_key));
    return this.events.filter(keep).map(({ type, state_key, sender, content }) => ({ type, state_key, sender, content }));
  }

  updateFor(device, since, limit) {
    const fresh = this.events.filter((event) => event.position > since);
    if (fresh.length === 0) return undefined;
    const timeline = fresh.slice(-limit);
    const start = this.events.indexOf(timeline[0]);
    const before = new Map();
    for (const event of this.events.slice(0, start)) {
      if (event.state_key !== undefined && event.position > 0) before.set(`${event.type} ${event.state_key}`, event);
    }
    const stateEvents = [...before.values()].filter((event) => since === 0 || event.position > since);
    return {
      timeline: { events: timeline.map((event) => this.clientEvent(event, device)), limited: fresh.length > limit, prev_batch: `t${start}` },
      state: { events: stateEvents.map((event) => this.clientEvent(event, device)) },
      unread_notifications: { notification_count: 0, highlight_count: 0 },
    };
  }

  messages(device, from, limit) {
    const end = from ? Number(from.slice(1)) : this.events.length;
    const start = Math.max(0, end - limit);
    const chunk = this.events.slice(start, end).reverse().map((event) => this.clientEvent(event, device));
    return { chunk, start: `t${end}`, ...(start > 0 ? { end: `t${start}` } : {}) };
  }
}
