// Measures Tidemark against its baselines, in turns, and writes what came out: node run.mjs [--quick]
//
// Ratios count, not numbers: every round loads one after the other in the same workerd, and the median of the rounds'
// ratios is shown with its spread. One bad answer fails the bench. `npm run bench` sets up what it needs.

import { execFileSync } from "node:child_process";
import { createHmac, randomBytes } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { Agent, request } from "node:http";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { fillLedger } from "./fill.mjs";
import { serve } from "./serve.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const isQuick = process.argv.includes("--quick");
const ROUNDS = isQuick ? 3 : 7;
const SECONDS = isQuick ? 1 : 4;
const CONNECTIONS = 16;
const POSTBACKS = isQuick ? 500 : 4000;
const LEDGER_ROWS = isQuick ? 100_000 : 5_000_000;
const CLICK_DAYS = 25;
const CLICKS_FOR_WRITES = 100_000;
const MEMORY_CLICKS = isQuick ? [50_000, 200_000] : [50_000, 1_000_000];
const STARTS = isQuick ? 5 : 15;
const MAX_GZIP = 435_000;
const MAX_MEMORY_MB = 400;

const CLICK = "/aff_c?offer_id=1&aff_id=2&aff_sub=109581A&source=awesomepub";
const FORGED = "/aff_lsr?transaction_id=11xpc40000100000k5b7qj0aw9zh3m&amount=20";
const KEY = randomBytes(32);
const TOKEN = randomBytes(16).toString("hex");
const folder = mkdtempSync(join(tmpdir(), "tidemark-bench-"));
const oha = join(root, "target/tools/bin/oha");

const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];
const shown = (value) => (value >= 100 ? Math.round(value).toLocaleString("en") : value.toFixed(2));

/** Loads a URL, and gives requests a second and the median latency in milliseconds. */
function load(url, status, { method = "GET", connections = CONNECTIONS, requests } = {}) {
  const length = requests ? ["-n", requests] : ["-z", `${SECONDS}s`];
  const args = ["--no-tui", "--output-format", "json", "--redirect", "0", "-m", method, "-c", connections, ...length, url];
  const found = JSON.parse(execFileSync(oha, args.map(String), { encoding: "utf8", maxBuffer: 1 << 26 }));
  const answers = { ...found.statusCodeDistribution };
  delete answers[status];
  // A load that ends by the clock gives up what is under way.
  const errors = Object.entries(found.errorDistribution || {}).filter(([name]) => !name.includes("deadline"));
  if (Object.keys(answers).length || errors.length) {
    throw new Error(`bad answers of ${url}: ${JSON.stringify({ answers, errors })}`);
  }
  return { perSecond: found.summary.requestsPerSec, latency: found.latencyPercentiles.p50 * 1000 };
}

let minted = 0n;

/** A transaction ID of a click on an offer that no page has, some seconds old; none comes twice. */
function mint(offer, age = 0) {
  minted += 1n;
  const time = BigInt(Math.floor(Date.now() / 1000 - age) - 1_735_689_600);
  let signed = 1n;
  for (const [value, bits] of [[time, 30n], [BigInt(offer), 20n], [2n, 22n], [minted, 35n]]) {
    signed = (signed << bits) | value;
  }
  const bytes = Buffer.from(signed.toString(16).padStart(28, "0"), "hex");
  const bits = (signed << 38n) | (createHmac("sha256", KEY).update(bytes).digest().readBigUInt64BE() >> 26n);
  let text = "";
  for (let shift = 145n; shift >= 0n; shift -= 5n) text += "0123456789abcdefghjkmnpqrstvwxyz"[Number((bits >> shift) & 31n)];
  return text;
}

/** Fires postbacks with IDs of their own, of clicks of the last days, and gives how many were accepted a second. */
async function firePostbacks(url, offer, days = 0) {
  const age = () => Math.random() * days * 86_400;
  const paths = Array.from({ length: POSTBACKS }, () => `/aff_lsr?transaction_id=${mint(offer, age())}&amount=20`);
  const agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS });
  const get = (path) =>
    new Promise((done, failed) => {
      request(url + path, { agent }, (answer) => {
        let body = "";
        answer.setEncoding("utf8").on("data", (text) => (body += text)).on("end", () => done(body));
      }).on("error", failed).end();
    });
  const started = performance.now();
  const fire = async () => {
    for (let path = paths.pop(); path; path = paths.pop()) {
      const body = await get(path);
      if (body !== "success=true;") throw new Error(`bad answer of ${url}: ${body}`);
    }
  };
  await Promise.all(Array.from({ length: CONNECTIONS }, fire));
  const perSecond = POSTBACKS / ((performance.now() - started) / 1000);
  agent.destroy();
  return { perSecond };
}

async function api(url, path, body) {
  const answer = await fetch(`${url}/api/v1/${path}`, {
    method: "POST", headers: { authorization: `Bearer ${TOKEN}` }, body: JSON.stringify(body),
  });
  if (!answer.ok) throw new Error(await answer.text());
}

const start = (data, config) =>
  serve(join(folder, data), { TRANSACTION_KEYS: `1:${KEY.toString("hex")}`, ADMIN_TOKEN: TOKEN }, config);

function stop({ workerd }) {
  workerd.removeAllListeners("exit");
  workerd.kill("SIGKILL");
}

const demo = JSON.parse(readFileSync(join(root, "demo/network.json")));

async function loadNetwork(url, network = demo) {
  for (const [kind, entities] of Object.entries(network)) for (const entity of entities) await api(url, kind, entity);
}

const residentMb = ({ pid }) =>
  Number(/VmRSS:\s*(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? NaN) / 1024;

const rows = [];
/** A row of the table: what was measured, each round's ratio, and what it shall be. */
function row(measure, values, target, detail) {
  const value = median(values);
  const spread = values.length > 1 ? `${shown(Math.min(...values))} – ${shown(Math.max(...values))}` : "";
  rows.push({ measure, median: value, spread, target, detail, values });
  console.log(`${measure}: ${shown(value)} (${spread}) ${detail}`);
}

/** Loads several in turn, round by round, and gives what each round found. */
async function rounds(loads) {
  const found = [];
  for (let n = 0; n < ROUNDS; n += 1) {
    const round = {};
    for (const [name, run] of Object.entries(loads)) round[name] = await run();
    found.push(round);
  }
  return found;
}

const ratios = (found, a, b, figure = "perSecond") => found.map((round) => round[a][figure] / round[b][figure]);
const rates = (found, ...names) =>
  names.map((name) => `${name} ${shown(median(found.map((round) => round[name].perSecond)))}/s`).join(", ");

let running = await start("data");
try {
  const { urls } = running;
  await loadNetwork(urls.tidemark);
  for (const name of ["floor", "twin", "tidemark"]) load(urls[name] + CLICK, 302);

  let found = await rounds({
    floor: () => load(urls.floor + CLICK, 302, { method: "HEAD" }),
    tidemark: () => load(urls.tidemark + CLICK, 302, { method: "HEAD" }),
    twin: () => load(urls.twin + CLICK, 302, { method: "HEAD" }),
  });
  row("click without recording, against the floor", ratios(found, "tidemark", "floor"), "≥ 0.80", rates(found, "tidemark", "floor"));
  row("the same, against the twin", ratios(found, "tidemark", "twin"), "≥ 1.15", rates(found, "twin"));

  found = await rounds({
    floor: () => load(urls.floor + CLICK, 302),
    tidemark: () => load(urls.tidemark + CLICK, 302),
    twin: () => load(urls.twin + CLICK, 302),
  });
  row("click with recording, against the floor", ratios(found, "tidemark", "floor"), "≥ 0.70", rates(found, "tidemark", "floor"));
  row("the same, against the twin, which writes each click to KV", ratios(found, "tidemark", "twin"), "≥ 2.5", rates(found, "twin"));

  const writes = async () => Number(await (await fetch(urls.writes)).text());
  await new Promise((done) => setTimeout(done, 3000));
  const before = await writes();
  load(urls.tidemark + CLICK, 302, { requests: CLICKS_FOR_WRITES });
  await new Promise((done) => setTimeout(done, 3000));
  row("KV writes for 100,000 clicks", [(await writes()) - before], "≤ 500", "");

  found = await rounds({
    floor: () => load(urls.floor + CLICK, 302, { connections: 1 }),
    tidemark: () => load(urls.tidemark + CLICK, 302, { connections: 1 }),
  });
  const latencies = (name) => `${name} ${shown(median(found.map((round) => round[name].latency)) * 1000)} µs`;
  row("click at one connection, median latency against the floor's", ratios(found, "tidemark", "floor", "latency"), "≤ 1.25",
    `${latencies("tidemark")}, ${latencies("floor")}`);

  found = await rounds({
    tidemark: () => firePostbacks(urls.tidemark, 1),
    twin: () => firePostbacks(urls.twin, 1),
  });
  row("fresh durable postback, against the twin's", ratios(found, "tidemark", "twin"), "≥ 1.0", rates(found, "tidemark", "twin"));

  const duplicate = `/aff_lsr?transaction_id=${mint(1)}&amount=20`;
  for (const name of ["tidemark", "twin"]) await (await fetch(urls[name] + duplicate)).text();
  found = await rounds({
    floor: () => load(urls.floor + CLICK, 302),
    forged: () => load(urls.tidemark + FORGED, 200),
    duplicate: () => load(urls.tidemark + duplicate, 200),
    twin: () => load(urls.twin + duplicate, 200),
  });
  row("forged postback, against the floor", ratios(found, "forged", "floor"), "≥ 0.70", rates(found, "forged", "floor"));
  row("duplicate postback, against the floor", ratios(found, "duplicate", "floor"), "stated", rates(found, "duplicate", "twin"));

  stop(running);
  running = await start("ledger");
  const [{ id: empty, ...offer }] = demo.offers;
  const full = 1000;
  const network = { ...demo, offers: [...demo.offers, { ...offer, id: full }] };
  await loadNetwork(running.urls.tidemark, network);
  // Makes the ledger.
  await (await fetch(`${running.urls.tidemark}/aff_lsr?transaction_id=${mint(full)}`)).text();
  stop(running);
  await new Promise((done) => setTimeout(done, 500));
  fillLedger(join(folder, "ledger"), LEDGER_ROWS, CLICK_DAYS);
  // KV has forgotten what was published.
  rmSync(join(folder, "ledger/Catalog"), { recursive: true });
  running = await start("ledger");
  await loadNetwork(running.urls.tidemark, network);
  found = await rounds({
    full: () => firePostbacks(running.urls.tidemark, full, CLICK_DAYS),
    empty: () => firePostbacks(running.urls.tidemark, empty, CLICK_DAYS),
  });
  row(`postbacks with ${LEDGER_ROWS.toLocaleString("en")} conversions in the ledger, against an empty one`,
    ratios(found, "full", "empty"), "≥ 0.85", rates(found, "full", "empty"));

  stop(running);
  // A heap without a bound grows, the floor's too, until V8 thinks it worth its while to collect.
  running = await start("memory", "limited");
  await loadNetwork(running.urls.tidemark);
  const [few, many] = MEMORY_CLICKS;
  load(running.urls.tidemark + CLICK, 302, { requests: few });
  const early = residentMb(running.workerd);
  load(running.urls.tidemark + CLICK, 302, { requests: many - few });
  const late = residentMb(running.workerd);
  row(`memory after ${many.toLocaleString("en")} clicks, against ${few.toLocaleString("en")}`, [late / early], "≤ 1.05",
    `${shown(early)} MB, ${shown(late)} MB; CI fails above ${MAX_MEMORY_MB} MB`);
  stop(running);

  const firstAnswers = [];
  for (let n = 0; n < STARTS; n += 1) {
    const times = {};
    for (const name of n % 2 ? ["floor", "tidemark"] : ["tidemark", "floor"]) {
      const started = performance.now();
      running = await start(`start-${n}-${name}`);
      const answer = await fetch(running.urls[name] + (name === "floor" ? CLICK : "/healthz"), { redirect: "manual" });
      await answer.text();
      times[name] = performance.now() - started;
      stop(running);
    }
    firstAnswers.push(times.tidemark - times.floor);
  }
  row("first answer of a fresh workerd, later than the floor's, in ms", firstAnswers, "≤ 40", "");

  const gzip = gzipSync(readFileSync(join(root, "build/index_bg.wasm")), { level: 9 }).length;
  row("size of the module after gzip, in KB", [gzip / 1000], "≤ 200", `CI fails above ${MAX_GZIP / 1000}`);

  const git = (...args) => execFileSync("git", args, { cwd: root, encoding: "utf8" }).trim();
  const versions = {
    commit: git("rev-parse", "--short", "HEAD") + (git("status", "--porcelain") ? " and changes" : ""),
    machine: `${cpus().length} × ${cpus()[0].model}`,
    workerd: execFileSync(join(root, "node_modules/.bin/workerd"), ["--version"], { encoding: "utf8" }).trim(),
    oha: execFileSync(oha, ["--version"], { encoding: "utf8" }).trim(),
    rounds: `${ROUNDS} of ${SECONDS} s, ${CONNECTIONS} connections`,
  };
  const lines = rows.map(({ measure, median, spread, target, detail }) =>
    `| ${measure} | ${shown(median)} | ${spread} | ${target} | ${detail} |`);
  const table = ["| measure | median | spread | aim | |", "|---|---|---|---|---|", ...lines, "",
    Object.entries(versions).map(([name, value]) => `${name}: ${value}`).join("; "), ""].join("\n");
  mkdirSync(join(root, "target/bench"), { recursive: true });
  writeFileSync(join(root, "target/bench/results.md"), table);
  writeFileSync(join(root, "target/bench/results.json"), JSON.stringify({ versions, rows }, null, 2));
  console.log(`\n${table}\nAlso in target/bench/results.md and results.json.`);
  if (gzip > MAX_GZIP) throw new Error(`the module has ${gzip} bytes after gzip, and may have ${MAX_GZIP}`);
  if (late > MAX_MEMORY_MB) throw new Error(`workerd takes ${shown(late)} MB, and may take ${MAX_MEMORY_MB}`);
} finally {
  stop(running);
  rmSync(folder, { recursive: true, force: true });
}
