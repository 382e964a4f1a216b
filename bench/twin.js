// The same click and the same postback as Tidemark's, in plain JavaScript: the same macros, transaction IDs and answers.
// It writes each click to KV, and has a Durable Object with SQLite, where a conversion is counted for reports and its
// postback logged, as Tidemark does. tests/twin.rs says that its answers are the same to the byte.

import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import { DurableObject } from "cloudflare:workers";

const DIGITS = "0123456789abcdefghjkmnpqrstvwxyz";
const EPOCH = 1_735_689_600;
const FRESH_MS = 30_000;
const SUB_IDS = ["source", "aff_sub", "aff_sub2", "aff_sub3", "aff_sub4", "aff_sub5", "aff_click_id", "aff_unique1",
  "aff_unique2", "aff_unique3", "aff_unique4", "aff_unique5"];
const MONEY = /^(?=.*\d)(\d{0,11})(?:\.(\d{0,4})0*)?$/;
const encode = (text) => encodeURIComponent(text).replace(/[!'()*]/g, (c) => `%${c.charCodeAt().toString(16).toUpperCase()}`);

/** 150 bits, written as thirty digits of five. */
function write(bits) {
  let text = "";
  for (let shift = 145n; shift >= 0n; shift -= 5n) text += DIGITS[Number((bits >> shift) & 31n)];
  return text;
}

function read(text) {
  let bits = 0n;
  for (const c of text) {
    const digit = DIGITS.indexOf(c);
    if (digit < 0) return undefined;
    bits = (bits << 5n) | BigInt(digit);
  }
  return bits;
}

let keys;
function keyring(env) {
  keys ||= env.TRANSACTION_KEYS.split(",").map((entry) => {
    const [number, key] = entry.split(":");
    return { number: BigInt(number), key: Buffer.from(key, "hex") };
  });
  return keys;
}

/** The first 38 bits of the HMAC over the 112 signed bits. */
function sign(key, signed) {
  const bytes = Buffer.from(signed.toString(16).padStart(28, "0"), "hex");
  return createHmac("sha256", key).update(bytes).digest().readBigUInt64BE() >> 26n;
}

function mint(env, offer, partner, now) {
  const [{ number, key }] = keyring(env);
  const time = BigInt(Math.floor(now / 1000) - EPOCH);
  const page = BigInt(randomBytes(4).readUInt32BE() & 0x7ffffff);
  let signed = number;
  for (const [value, bits] of [[time, 30n], [BigInt(offer), 20n], [BigInt(partner), 22n], [page, 27n], [0n, 8n]]) {
    signed = (signed << bits) | value;
  }
  return { id: write((signed << 38n) | sign(key, signed)), page: pageKey(time, page) };
}

const pageKey = (time, page) => `clicks:${write((time << 30n) | page).slice(-12)}`;

function verify(env, text) {
  text = text.trim().toLowerCase();
  const bits = text.length === 30 ? read(text) : undefined;
  if (bits === undefined) return undefined;
  const signed = bits >> 38n;
  const key = keyring(env).find(({ number }) => number === signed >> 107n);
  if (!key) return undefined;
  const bytes = (value) => Buffer.from(value.toString(16).padStart(10, "0"), "hex");
  if (!timingSafeEqual(bytes(sign(key.key, signed)), bytes(bits & 0x3fffffffffn))) return undefined;
  const time = (signed >> 77n) & 0x3fffffffn;
  return {
    text,
    offer: Number((signed >> 57n) & 0xfffffn),
    partner: Number((signed >> 35n) & 0x3fffffn),
    clickedAt: (Number(time) + EPOCH) * 1000,
    page: pageKey(time, (signed >> 8n) & 0x7ffffffn),
  };
}

const copies = new Map();
/** A document, from the isolate's copy or KV; a promise only if it has to be read. */
function document(env, key) {
  const copy = copies.get(key);
  if (copy && Date.now() - copy.at < FRESH_MS) return copy.value;
  return env.KV.get(key, "json").then((value) => {
    if (value?.offer) value.template = compile(value.offer.offer_url);
    copies.set(key, { value, at: Date.now() });
    return value;
  });
}

/** Literals and names, in turn. */
const compile = (url) => url.split(/\{(\w+)\}/);

function click(url, request, env, context) {
  const query = new URLSearchParams(url.slice(url.indexOf("?")));
  const [offer, partner] = [document(env, `offer:${query.get("offer_id")}`), document(env, `partner:${query.get("aff_id")}`)];
  if (offer instanceof Promise || partner instanceof Promise) {
    return Promise.all([offer, partner]).then(([offer, partner]) => redirect(query, request, env, context, offer, partner));
  }
  return redirect(query, request, env, context, offer, partner);
}

function redirect(query, request, env, context, document, partner) {
  if (!document || !partner) return new Response("", { status: 404 });
  const { offer, advertiser, template } = document;
  if (offer.status !== "active" || partner.status !== "active") return new Response("", { status: 410 });
  const now = Date.now();
  const { id, page } = mint(env, offer.id, partner.id, now);
  const ip = request.headers.get("CF-Connecting-IP") || "";
  const country = request.cf?.country || "";
  const iso = () => new Date(now).toISOString();
  const macro = (name) => {
    switch (name) {
      case "transaction_id": return id;
      case "offer_id": return offer.id;
      case "offer_name": return offer.name;
      case "offer_ref": return offer.ref;
      case "advertiser_id": return advertiser.id;
      case "advertiser_ref": return advertiser.ref;
      case "affiliate_id": case "aff_id": return partner.id;
      case "affiliate_name": return partner.name;
      case "affiliate_ref": return partner.ref;
      case "aff_sub1": return query.get("aff_sub");
      case "country_code": return country;
      case "region_code": return request.cf?.regionCode;
      case "city": return request.cf?.city;
      case "ip": return ip;
      case "user_agent": return request.headers.get("User-Agent");
      case "date": return iso().slice(0, 10);
      case "time": return iso().slice(11, 19);
      case "datetime": return iso().slice(0, 19).replace("T", " ");
      case "ran": return randomBytes(4).readUInt32BE();
      case "currency": return offer.currency;
      case "payout": return offer.payout.flat || "0.00";
      default: return query.get(name);
    }
  };
  let location = template[0];
  for (let i = 1; i < template.length; i += 2) location += encode(String(macro(template[i]) ?? "")) + template[i + 1];
  if (request.method === "GET") {
    const values = [id, country, ip, ...SUB_IDS.map((name) => query.get(name) || "")];
    const line = values.map((value) => value.replace(/[\t\n\r\\]/g, (c) => ({ "\t": "\\t", "\n": "\\n", "\r": "\\r", "\\": "\\\\" })[c]));
    const expiration = Math.floor(now / 1000) + (offer.session_hours + 48) * 3600;
    context.waitUntil(env.KV.put(page, `1\n${line.join("\t").trimEnd()}\n`, { expiration }));
  }
  return new Response(null, { status: 302, headers: { Location: location, "Cache-Control": "no-store" } });
}

const answer = (error) =>
  new Response(error ? `success=false; err_msg=${error};` : "success=true;", {
    headers: { "Content-Type": "text/plain; charset=utf-8", "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store" },
  });

const money = (text) => {
  const [, whole = "0", places = ""] = MONEY.exec(text) || [];
  return Number(whole) * 10_000 + Number(places.padEnd(4, "0"));
};

async function postback(url, request, env) {
  const query = new URLSearchParams(url.slice(url.indexOf("?")));
  const sent = query.get("transaction_id") || "";
  const id = verify(env, sent);
  if (!id) return answer(`Invalid Trans. ID #${[...sent.replace(/[\u0000-\u001f;]/g, "")].slice(0, 64).join("")}.`);
  const [{ offer, advertiser }, page] = await Promise.all([document(env, `offer:${id.offer}`), env.KV.get(id.page)]);
  const now = Date.now();
  if (now - id.clickedAt > offer.session_hours * 3_600_000) return answer(`Expired Trans. ID #${id.text}.`);
  if (offer.protocol !== "server") return answer("Wrong tracking protocol");
  if (offer.security_token && query.get("security_token") !== advertiser.security_token) return answer("Invalid advertiser security token");
  const amount = query.get("amount");
  if (amount && !MONEY.test(amount)) return answer("Invalid parameter amount.");
  const [, country = "", ip = "", ...subIds] = page?.split("\n").find((line) => line.startsWith(id.text))?.split("\t") || [];
  const revealed = (name) => (name === "security_token" ? "***" : query.get(name));
  const due = ({ flat, percent }) => money(flat || "0") + (amount ? Math.round((money(amount) * Number(percent || 0)) / 100) : 0);
  const stub = env.TWIN_LEDGER.getByName(`offer:${offer.id}`);
  const isNew = await stub.claim([
    id.text, null, id.clickedAt, page ? "recorded" : "awaited", country, ip, ...SUB_IDS.map((_, index) => subIds[index] || null),
    id.partner, "approved", amount ? money(amount) : null, due(offer.payout), due(offer.revenue), offer.currency, now,
    request.headers.get("CF-Connecting-IP"), page ? null : now + 75_000,
  ], [
    now, request.method, `/aff_lsr?${[...query.keys()].map((name) => `${name}=${encode(revealed(name))}`).join("&")}`,
    request.headers.get("CF-Connecting-IP"), (request.headers.get("Referer") || "").slice(0, 2048), id.text,
  ]);
  return answer(isNew ? undefined : "Duplicate conversion");
}

const COUNTED_SUB_IDS = 6;

export class TwinLedger extends DurableObject {
  constructor(context, env) {
    super(context, env);
    this.storage = context.storage;
    this.sql = context.storage.sql;
    const columns = `(id INTEGER PRIMARY KEY, transaction_id TEXT, goal_id INTEGER,
      clicked_at INTEGER, session TEXT, country TEXT, click_ip TEXT, ${SUB_IDS.map((name) => `${name} TEXT`).join(", ")},
      partner_id INTEGER, status TEXT, amount INTEGER, payout INTEGER, revenue INTEGER, currency TEXT, received_at INTEGER,
      sender_ip TEXT, session_due_at INTEGER) STRICT`;
    for (const statement of [
      `CREATE TABLE IF NOT EXISTS conversions ${columns}`,
      "CREATE INDEX IF NOT EXISTS by_transaction ON conversions (transaction_id, goal_id)",
      "CREATE INDEX IF NOT EXISTS by_due ON conversions (session_due_at) WHERE session_due_at IS NOT NULL",
      `CREATE TABLE IF NOT EXISTS refusals ${columns}`,
      `CREATE TABLE IF NOT EXISTS postbacks (id INTEGER PRIMARY KEY, received_at INTEGER, method TEXT, target TEXT,
        sender_ip TEXT, referrer TEXT, transaction_id TEXT, accepted INTEGER) STRICT`,
      `CREATE TABLE IF NOT EXISTS counts (hour INTEGER, dimension INTEGER, partner_id INTEGER, currency TEXT, value TEXT,
        approved INTEGER, payout INTEGER, revenue INTEGER, PRIMARY KEY (hour, dimension, partner_id, currency, value))
        STRICT, WITHOUT ROWID`,
    ]) this.sql.exec(statement);
    const places = Array.from({ length: 27 }, (_, index) => `?${index + 1}`).join(", ");
    this.insert = `INSERT INTO conversions SELECT NULL, ${places}
      WHERE NOT EXISTS (SELECT 1 FROM conversions WHERE transaction_id = ?1 AND goal_id IS ?2) RETURNING id`;
    this.refuse = `INSERT INTO refusals SELECT NULL, ${places}`;
    this.refused = 0;
  }

  /** Records a conversion with its counts and its postback, or a duplicate as a refusal. */
  claim(row, postback) {
    return this.storage.transactionSync(() => {
      const isNew = this.sql.exec(this.insert, ...row).toArray().length > 0;
      if (isNew) {
        this.count(row);
        this.search(row[26]);
      } else {
        this.sql.exec(this.refuse, ...row);
        this.refused += 1;
        if (this.refused % 64 === 1) {
          this.sql.exec("DELETE FROM refusals WHERE id <= (SELECT id FROM refusals ORDER BY id DESC LIMIT 1 OFFSET 1000)");
        }
      }
      this.sql.exec("INSERT INTO postbacks VALUES (NULL, ?, ?, ?, ?, ?, ?, ?)", ...postback, isNew ? 1 : 0);
      return isNew;
    });
  }

  /** Counts a conversion, and each value of its session by which a report can group. */
  count(row) {
    const [country, subIds] = [row[4], row.slice(6, 6 + COUNTED_SUB_IDS)];
    const [partner, , , payout, revenue, currency, receivedAt] = row.slice(18);
    const values = ["", country, ...subIds].map((value, dimension) => [dimension, value || ""]);
    const counted = values.filter(([dimension, value]) => !dimension || value);
    const rows = counted.map((_, index) => `(?1, ?${2 * index + 6}, ?2, ?3, ?${2 * index + 7}, 1, ?4, ?5)`);
    this.sql.exec(
      `INSERT INTO counts VALUES ${rows.join(", ")} ON CONFLICT DO UPDATE
        SET approved = approved + 1, payout = payout + excluded.payout, revenue = revenue + excluded.revenue`,
      Math.floor(receivedAt / 3_600_000), partner, currency, payout, revenue, ...counted.flat(),
    );
  }

  /** Sets the alarm for a click that KV did not show. */
  search(due) {
    if (due && !(this.due <= due)) {
      this.due = due;
      this.storage.setAlarm(due);
    }
  }

  alarm() {}
}

export default {
  fetch(request, env, context) {
    const { url } = request;
    if (url.includes("/aff_c?")) return click(url, request, env, context);
    if (url.includes("/aff_lsr?")) return postback(url, request, env);
    return new Response("", { status: 404 });
  },
};
