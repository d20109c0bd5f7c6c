// The ledger of the mock server: enough of the rules to develop against, kept to the shapes of spec/api.md.
import { createHash } from "node:crypto";

const SCALES = { JPY: 0, KRW: 0, ISK: 0, CLP: 0, VND: 0, KWD: 3, BHD: 3, OMR: 3, TND: 3, JOD: 3 };
export const PREFIX = "com.cliquepay.";

export class Refused extends Error {
  constructor(field, message, status = 400, errcode = "M_INVALID_PARAM") {
    super(message);
    Object.assign(this, { field, status, errcode });
  }
}

const scaleOf = (currency) => SCALES[currency] ?? 2;

/** Minor units of a wire amount, or a refusal that names the field. */
export function parse(amount, currency, field) {
  const scale = scaleOf(currency);
  const pattern = scale ? new RegExp(`^-?(0|[1-9]\\d*)\\.\\d{${scale}}$`) : /^-?(0|[1-9]\d*)$/;
  if (typeof amount !== "string" || !pattern.test(amount)) throw new Refused(field, `not an amount in ${currency}`);
  return BigInt(amount.replace(".", ""));
}

export function print(minor, currency) {
  const scale = scaleOf(currency);
  const digits = (minor < 0n ? -minor : minor).toString().padStart(scale + 1, "0");
  const at = digits.length - scale;
  return (minor < 0n ? "-" : "") + digits.slice(0, at) + (scale ? `.${digits.slice(at)}` : "");
}

const seed = (uid, who) => createHash("sha256").update(uid).update("\0").update(who).digest("hex");
const total = (lines) => lines.reduce((sum, line) => sum + line.minor, 0n);

function equalShares(amount, people, uid) {
  const base = amount / BigInt(people.length);
  const odd = Number(amount % BigInt(people.length));
  const lucky = new Set([...people].sort((a, b) => (seed(uid, a) < seed(uid, b) ? -1 : 1)).slice(0, odd));
  return people.map((who) => ({ who, minor: base + (lucky.has(who) ? 1n : 0n) }));
}

/** Fills in what the server fills in and refuses what it refuses. */
export function complete(room, sender, { type, content: given }, uid, known) {
  const content = { ...given, uid: given.uid ?? uid, open: room.open, prev: room.heads() };
  content["m.relates_to"] = { rel_type: "m.reference", event_id: room.createId };
  const currency = content.currency;
  const needMember = (who, field) => {
    if (!room.members().has(who)) throw new Refused(field, `${who} is not in this group`);
  };
  if (type === `${PREFIX}expense`) {
    if (typeof content.title !== "string" || !content.title.trim()) throw new Refused("title", "an expense needs a title");
    const amount = parse(content.amount, currency, "amount");
    if (amount === 0n) throw new Refused("amount", "an amount of zero");
    const inputs = content.split?.inputs ?? [];
    if (inputs.length === 0) throw new Refused("split.inputs", "nobody shares this");
    inputs.forEach((input, i) => needMember(input.who, `split.inputs[${i}].who`));
    if (new Set(inputs.map((input) => input.who)).size !== inputs.length) throw new Refused("split.inputs", "the same person twice");
    const owed =
      content.split.method === "equal"
        ? equalShares(amount, inputs.map((input) => input.who), content.uid)
        : inputs.map((input, i) => ({ who: input.who, minor: parse(input.value, currency, `split.inputs[${i}].value`) }));
    if (total(owed) !== amount) throw new Refused("split.inputs", "the shares do not add up to the amount");
    content.paid ??= [{ who: sender, amount: content.amount }];
    const paid = content.paid.map((line, i) => ({ who: line.who, minor: parse(line.amount, currency, `paid[${i}].amount`) }));
    content.paid.forEach((line, i) => needMember(line.who, `paid[${i}].who`));
    if (total(paid) !== amount) throw new Refused("paid", "the payments do not add up to the amount");
    content.owed = owed.map(({ who, minor }) => ({ who, amount: print(minor, currency) }));
    content.date ??= new Date().toISOString().slice(0, 10);
  } else if (type === `${PREFIX}settlement`) {
    if (parse(content.amount, currency, "amount") <= 0n) throw new Refused("amount", "a payment is positive");
    if (content.from === content.to) throw new Refused("to", "nobody pays themselves");
    needMember(content.from, "from");
    needMember(content.to, "to");
    if (sender !== content.from && sender !== content.to) throw new Refused("from", "one of the two must be you");
  } else if (type === `${PREFIX}verdict` || type === `${PREFIX}void`) {
    delete content.uid;
    const target = known.get(content.target);
    if (!target) throw new Refused("target", "no such entry");
    if (type === `${PREFIX}verdict` && target.content.to !== sender) throw new Refused("target", "only the payee can say so");
    if (type === `${PREFIX}void`) content.over = [content.target];
  } else throw new Refused("type", "unknown entry type");
  return content;
}

/** All entries with their status, and what they add up to. */
export function fold(room) {
  const events = room.events.filter((event) => event.type.startsWith(PREFIX) && event.type !== `${PREFIX}ledger`);
  const entries = new Map(events.map((event) => [event.event_id, { ...event, status: "counts", verdicts: [], line_event_id: room.lines.get(event.event_id) }]));
  for (const entry of entries.values()) {
    const target = entries.get(entry.content.target);
    if (!target) continue;
    if (entry.type === `${PREFIX}verdict` && target.content.to === entry.sender) {
      target.verdicts.push({ event_id: entry.event_id, sender: entry.sender, verdict: entry.content.verdict, reason: entry.content.reason });
    } else if (entry.type === `${PREFIX}void`) {
      if (target.sender === entry.sender) target.voided_by = entry.event_id;
      else entry.status = "unauthorised";
    }
  }
  for (const entry of entries.values()) entry.status = statusOf(entry);
  return entries;
}

function statusOf(entry) {
  if (entry.voided_by) return "void";
  if (entry.type !== `${PREFIX}settlement` || entry.sender === entry.content.to) return entry.status;
  if (entry.verdicts.some((verdict) => verdict.verdict === "disputed")) return "disputed";
  return entry.verdicts.length > 0 ? "counts" : "pending";
}

function effects(entry) {
  const { currency, content } = { currency: entry.content.currency, content: entry.content };
  const lines = [];
  if (entry.type === `${PREFIX}expense`) {
    for (const line of content.paid) lines.push({ who: line.who, minor: parse(line.amount, currency) });
    for (const line of content.owed) lines.push({ who: line.who, minor: -parse(line.amount, currency) });
  } else if (entry.type === `${PREFIX}settlement`) {
    const minor = parse(content.amount, currency);
    lines.push({ who: content.from, minor }, { who: content.to, minor: -minor });
  }
  return { currency, net: lines };
}

/** Net positions per currency: Map(currency → Map(user → minor units)). */
export function balances(entries, withPending = false) {
  const result = new Map();
  for (const entry of entries) {
    if (entry.status !== "counts" && !(withPending && entry.status === "pending")) continue;
    const { currency, net } = effects(entry);
    if (net.length === 0) continue;
    const sums = result.get(currency) ?? new Map();
    for (const { who, minor } of net) sums.set(who, (sums.get(who) ?? 0n) + minor);
    result.set(currency, sums);
  }
  return result;
}

function match(sums) {
  const by = (a, b) => (a[0] < b[0] ? -1 : 1);
  const debtors = [...sums].filter(([, minor]) => minor < 0n).sort(by);
  const creditors = [...sums].filter(([, minor]) => minor > 0n).sort(by);
  const moves = [];
  while (debtors.length && creditors.length) {
    const [from, owes] = debtors[0];
    const [to, gets] = creditors[0];
    const minor = -owes < gets ? -owes : gets;
    moves.push({ from, to, minor });
    debtors[0][1] += minor;
    creditors[0][1] -= minor;
    if (debtors[0][1] === 0n) debtors.shift();
    if (creditors[0][1] === 0n) creditors.shift();
  }
  return moves;
}

function pairwise(entries, currency) {
  const debts = new Map();
  for (const entry of entries) {
    if (entry.status !== "counts" && entry.status !== "pending") continue;
    const effect = effects(entry);
    if (effect.currency !== currency) continue;
    const sums = new Map();
    for (const { who, minor } of effect.net) sums.set(who, (sums.get(who) ?? 0n) + minor);
    for (const { from, to, minor } of match(sums)) {
      const [a, b] = from < to ? [from, to] : [to, from];
      const debt = debts.get(`${a} ${b}`) ?? { a, b, minor: 0n, because: new Set() };
      debt.minor += from === a ? minor : -minor;
      debt.because.add(`${entry.content.title ?? "payment"}: ${print(minor, currency)} ${currency}`);
      debts.set(`${a} ${b}`, debt);
    }
  }
  return [...debts.values()].filter((debt) => debt.minor !== 0n);
}

/** Routes the net positions along a spanning forest of the debts that exist. */
function alongEdges(debts, sums) {
  const left = new Map(sums);
  const edges = [];
  const root = new Map([...sums.keys()].map((who) => [who, who]));
  const find = (who) => (root.get(who) === who ? who : find(root.get(who)));
  for (const debt of debts) {
    const [a, b] = [find(debt.a), find(debt.b)];
    if (a === b) continue;
    root.set(a, b);
    edges.push(debt);
  }
  const moves = [];
  while (edges.length) {
    const degree = (who) => edges.filter((edge) => edge.a === who || edge.b === who).length;
    const at = edges.findIndex((edge) => degree(edge.a) === 1 || degree(edge.b) === 1);
    const [edge] = edges.splice(at, 1);
    const leaf = [edge.a, edge.b].find((who) => !edges.some((other) => other.a === who || other.b === who));
    const other = leaf === edge.a ? edge.b : edge.a;
    const minor = left.get(leaf) ?? 0n;
    left.set(other, (left.get(other) ?? 0n) + minor);
    if (minor < 0n) moves.push({ from: leaf, to: other, minor: -minor, because: [...edge.because] });
    if (minor > 0n) moves.push({ from: other, to: leaf, minor, because: [...edge.because] });
  }
  return moves;
}

export function plans(entries) {
  const plan = { pairwise: [], edges: [], minimal: [] };
  for (const [currency, sums] of balances(entries, true)) {
    const debts = pairwise(entries, currency);
    const transfer = ({ from, to, minor, because = [] }) => ({ from, to, currency, amount: print(minor, currency), because });
    plan.pairwise.push(...debts.map((debt) => transfer({ from: debt.minor > 0n ? debt.a : debt.b, to: debt.minor > 0n ? debt.b : debt.a, minor: debt.minor > 0n ? debt.minor : -debt.minor, because: [...debt.because] })));
    plan.edges.push(...alongEdges(debts, sums).map(transfer));
    plan.minimal.push(...match(sums).map(transfer));
  }
  return Object.fromEntries(Object.entries(plan).map(([kind, transfers]) => [kind, { transfers, exact: kind !== "minimal" || transfers.length < 3 }]));
}

/** The line in words that follows an entry. */
export function lineFor(room, sender, type, content) {
  const name = (who) => room.nameOf(who);
  const amount = `${content.amount} ${content.currency}`;
  if (type === `${PREFIX}expense`) {
    const shares = content.owed.map((line) => `${name(line.who)} ${line.amount}`).join(", ");
    return `${content.paid.map((line) => name(line.who)).join(" and ")} paid ${amount} for ${content.title}: ${shares}`;
  }
  if (type === `${PREFIX}settlement`) return `${name(content.from)} paid ${name(content.to)} ${amount}`;
  if (type === `${PREFIX}verdict`) return `${name(sender)} ${content.verdict} a payment`;
  return `${name(sender)} took an entry back`;
}
