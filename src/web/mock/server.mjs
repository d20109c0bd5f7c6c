// A mock homeserver for developing and testing the web app: keeps everything in memory, never shipped.
//   node mock/server.mjs [--port 8448] [--name localhost] [--seed] [--dist dist]
import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { balances, complete, fold, lineFor, parse, plans, PREFIX, print, Refused } from "./ledger.mjs";
import { World } from "./rooms.mjs";
import { seed } from "./seed.mjs";

const { values: options } = parseArgs({
  options: { port: { type: "string", default: "8448" }, name: { type: "string", default: "localhost" }, seed: { type: "boolean" }, dist: { type: "string" } },
});
const world = new World(options.name);

class HttpError extends Error {
  constructor(status, errcode, error, extra = {}) {
    super(error);
    Object.assign(this, { status, body: { errcode, error, ...extra } });
  }
}
const forbidden = () => new HttpError(403, "M_FORBIDDEN", "You are not in this room");

const routes = [];
const V3 = "/_matrix/client/v3";
const LEDGER = "/_matrix/client/unstable/com.cliquepay/v1";
/** `handler` gets {device, params, query, body}; `open` routes need no token. */
function route(method, path, handler, { open = false } = {}) {
  const names = [];
  const pattern = path.replace(/\{(\w+)\}/g, (_, name) => (names.push(name), "([^/]+)"));
  routes.push({ method, pattern: new RegExp(`^${pattern}$`), names, handler, open, idempotent: method === "PUT" && path.includes("{txnId}") });
}

route("GET", "/_matrix/client/versions", () => ({ versions: ["v1.11"], unstable_features: { "com.cliquepay": true } }), { open: true });
route("POST", `${V3}/register`, ({ body }) => {
  if (body.auth?.type !== "m.login.dummy") throw new HttpError(401, "M_FORBIDDEN", "More is needed", { flows: [{ stages: ["m.login.dummy"] }], session: "mock" });
  if (!/^[a-z0-9._=/-]+$/.test(body.username ?? "")) throw new HttpError(400, "M_INVALID_USERNAME", "The name has characters that are not allowed");
  if ((body.password ?? "").length < 8) throw new HttpError(400, "M_WEAK_PASSWORD", "The password is too short");
  if (world.users.has(`@${body.username}:${world.serverName}`)) throw new HttpError(400, "M_USER_IN_USE", "The name is taken");
  return world.newToken(world.addUser(body.username, body.password, body.username));
}, { open: true });
route("GET", `${V3}/login`, () => ({ flows: [{ type: "m.login.password" }, { type: "m.login.token" }] }), { open: true });
route("POST", `${V3}/login`, ({ body }) => {
  if (body.type === "m.login.token") {
    if (body.token !== "ann-comes-from-her-provider") throw new HttpError(403, "M_FORBIDDEN", "The token is not valid");
    return world.newToken(`@ann:${world.serverName}`);
  }
  const user = body.identifier?.user ?? "";
  const userId = user.startsWith("@") ? user : `@${user}:${world.serverName}`;
  if (world.users.get(userId)?.password !== body.password) throw new HttpError(403, "M_FORBIDDEN", "Wrong name or password");
  return world.newToken(userId);
}, { open: true });
route("GET", `${V3}/account/whoami`, ({ device }) => ({ user_id: device.userId, device_id: device.deviceId }));
route("POST", `${V3}/logout`, ({ token }) => (world.tokens.delete(token), {}));
route("GET", `${V3}/profile/{userId}`, ({ params }) => ({ displayname: world.users.get(params.userId)?.displayname }));
route("PUT", `${V3}/profile/{userId}/displayname`, ({ device, body }) => {
  world.users.get(device.userId).displayname = body.displayname;
  for (const room of world.rooms.values()) if (room.isJoined(device.userId)) room.member(device.userId, device.userId, "join");
  return {};
});
route("GET", `${V3}/sync`, async ({ device, query }) => {
  const since = query.since ? Number(query.since.slice(1)) : 0;
  const limit = JSON.parse(query.filter ?? "{}").room?.timeline?.limit ?? 10;
  const until = Date.now() + Number(query.timeout ?? 0);
  for (;;) {
    const { empty, body } = world.sync(device, since, limit);
    if (!empty || since === 0 || Date.now() >= until) return body;
    await world.news(until - Date.now());
  }
});
route("POST", `${V3}/createRoom`, ({ device, body }) => ({ room_id: world.createRoom(device.userId, body).roomId }));
route("POST", `${V3}/join/{roomId}`, ({ device, params }) => {
  const room = roomOf(params);
  if (!room.members().has(device.userId)) throw new HttpError(403, "M_FORBIDDEN", "You are not invited");
  room.member(device.userId, device.userId, "join");
  return { room_id: room.roomId };
});
route("POST", `${V3}/rooms/{roomId}/leave`, ({ device, params }) => (roomOf(params).member(device.userId, device.userId, "leave"), {}));
route("POST", `${V3}/rooms/{roomId}/invite`, ({ device, params, body }) => {
  const room = joinedRoom(params, device);
  if (room.isJoined(body.user_id)) throw new HttpError(403, "M_FORBIDDEN", "Already in the room");
  if (body.user_id.endsWith(`:${world.serverName}`) && !world.users.has(body.user_id)) throw new HttpError(404, "M_NOT_FOUND", "No such user");
  room.member(device.userId, body.user_id, "invite");
  return {};
});
route("POST", `${V3}/rooms/{roomId}/receipt/{type}/{eventId}`, ({ device, params }) => (joinedRoom(params, device), {}));
route("GET", `${V3}/rooms/{roomId}/messages`, ({ device, params, query }) => joinedRoom(params, device).messages(device, query.from, Number(query.limit ?? 10)));
route("GET", `${V3}/rooms/{roomId}/members`, ({ device, params }) => {
  const room = joinedRoom(params, device);
  return { chunk: [...room.members().values()].map((event) => room.clientEvent(event, device)) };
});
route("PUT", `${V3}/rooms/{roomId}/send/{type}/{txnId}`, ({ device, params, body }) => {
  const room = joinedRoom(params, device);
  return { event_id: room.append(device.userId, params.type, body, { device, txnId: params.txnId }).event_id };
});

route("PUT", `${LEDGER}/groups/{txnId}`, ({ device, body }) => {
  if (!body.name) throw new Refused("name", "a group needs a name");
  (body.invite ?? []).forEach((userId, i) => {
    if (!world.users.has(userId)) throw new Refused(`invite[${i}]`, "there is no such user on this server");
  });
  const room = world.createRoom(device.userId, body);
  openLedger(room, device, body.currency);
  return { room_id: room.roomId, ledger: room.open };
});
route("GET", `${LEDGER}/groups`, ({ device }) => {
  const rooms = [...world.rooms.values()].filter((room) => room.open && room.isJoined(device.userId));
  const groups = rooms.map((room) => ({
    room_id: room.roomId, name: room.name, ledger: room.open, currency: room.currency, members: room.members().size,
    last_ts: room.events.at(-1).origin_server_ts,
    balances: [...balances(fold(room).values())].map(([currency, sums]) => ({ currency, amount: print(sums.get(device.userId) ?? 0n, currency) })),
  }));
  const totals = new Map();
  for (const { currency, amount } of groups.flatMap((group) => group.balances)) {
    const total = totals.get(currency) ?? { owed: 0n, owe: 0n };
    const minor = parse(amount, currency);
    if (minor > 0n) total.owed += minor;
    else total.owe -= minor;
    totals.set(currency, total);
  }
  return {
    groups: groups.sort((a, b) => b.last_ts - a.last_ts),
    totals: [...totals].map(([currency, { owed, owe }]) => ({ currency, owed: print(owed, currency), owe: print(owe, currency) })),
  };
});
route("PUT", `${LEDGER}/rooms/{roomId}/ledger/{txnId}`, ({ device, params, body }) => {
  const room = joinedRoom(params, device);
  if (room.open) throw new HttpError(409, "COM.CLIQUEPAY.LEDGER_EXISTS", "This room has a ledger");
  openLedger(room, device, body.currency);
  return { room_id: room.roomId, ledger: room.open };
});
route("GET", `${LEDGER}/rooms/{roomId}/ledger`, ({ device, params }) => {
  const room = ledgerRoom(params, device);
  const entries = [...fold(room).values()];
  const sums = [...balances(entries)].flatMap(([currency, net]) => [...net].filter(([, minor]) => minor !== 0n).map(([who, minor]) => ({ who, currency, amount: print(minor, currency) })));
  return {
    room_id: room.roomId, name: room.name, ledger: room.open, open: fold(room).get(room.open).content, currency: room.currency,
    participants: [...room.members()].map(([user_id, event]) => ({ user_id, name: event.content.displayname ?? user_id, membership: event.content.membership })),
    balances: sums, plans: plans(entries), pending: entries.filter((entry) => entry.status === "pending").map(entryView),
    heads: room.heads(), digest: "mock", entries: entries.length, missing: [], conflicts: [], rejects: [],
  };
});
route("GET", `${LEDGER}/rooms/{roomId}/ledger/entries`, ({ device, params, query }) => {
  const all = [...fold(ledgerRoom(params, device)).values()].reverse();
  const start = query.from ? Number(query.from.slice(1)) : 0;
  const end = start + Number(query.limit ?? 50);
  return { entries: all.slice(start, end).map(entryView), ...(end < all.length ? { next_batch: `e${end}` } : {}) };
});
route("GET", `${LEDGER}/rooms/{roomId}/ledger/entries/{eventId}`, ({ device, params }) => {
  const entry = fold(ledgerRoom(params, device)).get(params.eventId);
  if (!entry) throw new HttpError(404, "M_NOT_FOUND", "No such entry");
  return entryView(entry);
});
route("PUT", `${LEDGER}/rooms/{roomId}/ledger/entries/{txnId}`, ({ device, params, body }) => {
  const room = ledgerRoom(params, device);
  const { event, line } = addEntry(room, device.userId, body);
  return { event_id: event.event_id, line_event_id: line.event_id, uid: event.content.uid ?? event.event_id, entry: entryView(fold(room).get(event.event_id)) };
});
route("POST", `${LEDGER}/rooms/{roomId}/ledger/preview`, ({ device, params, body }) => {
  const room = ledgerRoom(params, device);
  return { content: complete(room, device.userId, body, "preview", fold(room)) };
});

function openLedger(room, device, currency) {
  room.currency = currency;
  room.open = room.append(device.userId, `${PREFIX}open`, { protocol: 1, currency, "m.relates_to": { rel_type: "m.reference", event_id: room.createId } }).event_id;
  room.state(device.userId, `${PREFIX}ledger`, "", { open: room.open });
}

export function addEntry(room, sender, body, ts) {
  const content = complete(room, sender, body, Math.random().toString(36).slice(2), fold(room));
  const event = room.append(sender, body.type, content, { ts });
  const line = room.append(sender, "m.room.message", {
    msgtype: "m.notice", body: lineFor(room, sender, body.type, content), "m.relates_to": { rel_type: "m.reference", event_id: event.event_id },
  }, { ts });
  room.lines.set(event.event_id, line.event_id);
  return { event, line };
}

function entryView(entry) {
  const { event_id, type, sender, origin_server_ts, status, content, line_event_id, verdicts, voided_by } = entry;
  return { event_id, type, sender, origin_server_ts, status, content, line_event_id, verdicts, voided_by };
}

function roomOf(params) {
  const room = world.rooms.get(params.roomId);
  if (!room) throw forbidden();
  return room;
}
function joinedRoom(params, device) {
  const room = roomOf(params);
  if (!room.isJoined(device.userId)) throw forbidden();
  return room;
}
function ledgerRoom(params, device) {
  const room = joinedRoom(params, device);
  if (!room.open) throw new HttpError(404, "M_NOT_FOUND", "This room has no ledger");
  return room;
}

async function answer(request) {
  const url = new URL(request.url, "http://mock");
  for (const candidate of routes) {
    const match = candidate.method === request.method && candidate.pattern.exec(url.pathname);
    if (!match) continue;
    const token = request.headers.authorization?.replace("Bearer ", "");
    const device = world.tokens.get(token);
    if (!candidate.open && !device) throw new HttpError(401, token ? "M_UNKNOWN_TOKEN" : "M_MISSING_TOKEN", "Log in first");
    const params = Object.fromEntries(candidate.names.map((name, i) => [name, decodeURIComponent(match[i + 1])]));
    const key = `${device?.deviceId} ${url.pathname}`;
    if (candidate.idempotent && world.answers.has(key)) return world.answers.get(key);
    const body = await readBody(request);
    const result = await candidate.handler({ device, token, params, query: Object.fromEntries(url.searchParams), body });
    if (candidate.idempotent) world.answers.set(key, result);
    return result;
  }
  throw new HttpError(404, "M_UNRECOGNIZED", "Unknown request");
}

async function readBody(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return chunks.length ? JSON.parse(Buffer.concat(chunks).toString()) : {};
}

const TYPES = { ".html": "text/html; charset=utf-8", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".woff2": "font/woff2", ".webmanifest": "application/manifest+json" };
/** The policy the app must live under: nothing inline, nothing from elsewhere. */
const POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; img-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

async function serveFile(path, response) {
  const relative = normalize(path === "/" ? "/index.html" : path);
  const file = await readFile(join(options.dist, relative)).catch(() => undefined);
  if (!file) return void response.writeHead(404).end();
  response.writeHead(200, { "Content-Type": TYPES[extname(relative)] ?? "application/octet-stream", "Content-Security-Policy": POLICY });
  response.end(file);
}

const server = createServer(async (request, response) => {
  const path = request.url.split("?")[0];
  if (options.dist && !path.startsWith("/_matrix")) return serveFile(path, response);
  let status = 200;
  let body;
  try {
    body = await answer(request);
  } catch (error) {
    status = error.status ?? 500;
    body = error instanceof Refused ? { errcode: error.errcode, error: error.message, field: error.field } : (error.body ?? { errcode: "M_UNKNOWN", error: String(error) });
    if (status === 500) console.error(error);
  }
  response.writeHead(status, { "Content-Type": "application/json" });
  response.end(JSON.stringify(body));
});

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  if (options.seed) seed(world, { openLedger, addEntry });
  server.listen(Number(options.port), "127.0.0.1", () => console.log(`mock server on http://127.0.0.1:${server.address().port}`));
}
