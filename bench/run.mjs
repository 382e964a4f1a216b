// Measures Tidemark against its baselines, in turns, and writes what came out: node run.mjs [--quick]
//
// Ratios count, not numbers: every round loads one after the other in the same workerd, and the median of the rounds'
// ratios is shown with its spread. One bad answer fails the bench. `npm run bench` sets up what it needs.

import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { fillLedger } from "./fill.mjs";
import { mint } from "./ids.mjs";
import { CONNECTIONS, firePostbacks, load, OHA } from "./load.mjs";
import { serve } from "./serve.mjs";
import { finish, median, rates, ratios, row, shown } from "./table.mjs";

const isQuick = process.argv.includes("--quick");
const ROUNDS = isQuick ? 3 : 7;
const SECONDS = isQuick ? 1 : 4;
const POSTBACKS = isQuick ? 500 : 4000;
const LEDGER_ROWS = isQuick ? 100_000 : 5_000_000;
const CLICK_DAYS = 25;
const CLICKS_FOR_WRITES = 100_000;
const MEMORY_CLICKS = isQuick ? [50_000, 200_000] : [50_000, 1_000_000];
const STARTS = isQuick ? 5 : 15;
const MAX_GZIP = 400_000;
const MAX_MEMORY_MB = 400;

const CLICK = "/aff_c?offer_id=1&aff_id=2&aff_sub=109581A&source=awesomepub";
const FORGED = "/aff_lsr?transaction_id=11xpc40000100000k5b7qj0aw9zh3m&amount=20";
const KEY = randomBytes(32);
const TOKEN = randomBytes(16).toString("hex");

const root = fileURLToPath(new URL("..", import.meta.url));
const demo = JSON.parse(readFileSync(join(root, "demo/network.json")));
const folder = mkdtempSync(join(tmpdir(), "tidemark-bench-"));
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

let running;

/** Starts a workerd in the place of the one that runs, and gives its URLs. */
async function start(data, config) {
  stop();
  running = await serve(join(folder, data), { TRANSACTION_KEYS: `1:${KEY.toString("hex")}`, ADMIN_TOKEN: TOKEN }, config);
  return running.urls;
}

function stop() {
  running?.workerd.removeAllListeners("exit");
  running?.workerd.kill("SIGKILL");
}

async function loadNetwork(url, network = demo) {
  for (const [kind, entities] of Object.entries(network)) {
    for (const entity of entities) {
      const answer = await fetch(`${url}/api/v1/${kind}`, {
        method: "POST", headers: { authorization: `Bearer ${TOKEN}` }, body: JSON.stringify(entity),
      });
      if (!answer.ok) throw new Error(await answer.text());
    }
  }
}

/** Does several things in turn, round by round, and gives what each round found. */
async function rounds(things) {
  const found = [];
  for (let n = 0; n < ROUNDS; n += 1) {
    const round = {};
    for (const [name, run] of Object.entries(things)) round[name] = await run();
    found.push(round);
  }
  return found;
}

const loadClick = (url, options) => load(url + CLICK, 302, { seconds: SECONDS, ...options });

/** Fires postbacks for clicks of the last days, none of which has converted. */
function convert(url, { offer = 1, days = 0, connections } = {}) {
  const ids = Array.from({ length: POSTBACKS }, () => mint(KEY, offer, Math.random() * days * 86_400));
  return firePostbacks(url, ids, connections);
}

async function measureClicks({ tidemark, twin, floor, writes }) {
  for (const url of [floor, twin, tidemark]) loadClick(url);
  let found = await rounds({
    floor: () => loadClick(floor, { method: "HEAD" }),
    tidemark: () => loadClick(tidemark, { method: "HEAD" }),
    twin: () => loadClick(twin, { method: "HEAD" }),
  });
  row("click without recording, against the floor", ratios(found, "tidemark", "floor"), "≥ 0.80", rates(found, "tidemark", "floor"));
  row("the same, against the twin", ratios(found, "tidemark", "twin"), "≥ 1.15", rates(found, "twin"));

  found = await rounds({ floor: () => loadClick(floor), tidemark: () => loadClick(tidemark), twin: () => loadClick(twin) });
  row("click with recording, against the floor", ratios(found, "tidemark", "floor"), "≥ 0.70", rates(found, "tidemark", "floor"));
  row("the same, against the twin, which writes each click to KV", ratios(found, "tidemark", "twin"), "≥ 2.5", rates(found, "twin"));

  const countWrites = async () => {
    await sleep(3000);
    return Number(await (await fetch(writes)).text());
  };
  const before = await countWrites();
  loadClick(tidemark, { requests: CLICKS_FOR_WRITES });
  row("KV writes for 100,000 clicks", [(await countWrites()) - before], "≤ 500");

  found = await rounds({
    floor: () => loadClick(floor, { connections: 1 }),
    tidemark: () => loadClick(tidemark, { connections: 1 }),
  });
  const latency = (name) => `${name} ${shown(median(found.map((round) => round[name].latency)) * 1000)} µs`;
  row("click at one connection, median latency against the floor's", ratios(found, "tidemark", "floor", "latency"), "≤ 1.25",
    `${latency("tidemark")}, ${latency("floor")}`);
}

async function measurePostbacks({ tidemark, twin, floor }) {
  let found = await rounds({ tidemark: () => convert(tidemark), twin: () => convert(twin) });
  row("fresh durable postback, against the twin's", ratios(found, "tidemark", "twin"), "≥ 1.0", rates(found, "tidemark", "twin"));
  found = await rounds({
    tidemark: () => convert(tidemark, { connections: 1 }),
    twin: () => convert(twin, { connections: 1 }),
  });
  row("the same at one connection", ratios(found, "tidemark", "twin"), "stated", rates(found, "tidemark", "twin"));

  const duplicate = `/aff_lsr?transaction_id=${mint(KEY, 1)}&amount=20`;
  for (const url of [tidemark, twin]) await (await fetch(url + duplicate)).text();
  const refuse = (url) => load(url, 200, { seconds: SECONDS });
  found = await rounds({
    floor: () => loadClick(floor),
    forged: () => refuse(tidemark + FORGED),
    duplicate: () => refuse(tidemark + duplicate),
    twin: () => refuse(twin + duplicate),
  });
  row("forged postback, against the floor", ratios(found, "forged", "floor"), "≥ 0.70", rates(found, "forged", "floor"));
  row("duplicate postback, against the floor", ratios(found, "duplicate", "floor"), "stated", rates(found, "duplicate", "twin"));
}

async function measureFullLedger() {
  const [{ id: empty, ...offer }] = demo.offers;
  const full = 1000;
  const network = { ...demo, offers: [...demo.offers, { ...offer, id: full }] };
  let { tidemark } = await start("ledger");
  await loadNetwork(tidemark, network);
  // Makes the ledger.
  await firePostbacks(tidemark, [mint(KEY, full)]);
  stop();
  await sleep(500);
  fillLedger(join(folder, "ledger"), LEDGER_ROWS, CLICK_DAYS);
  // KV has forgotten what was published.
  rmSync(join(folder, "ledger/Catalog"), { recursive: true });
  ({ tidemark } = await start("ledger"));
  await loadNetwork(tidemark, network);
  const found = await rounds({
    full: () => convert(tidemark, { offer: full, days: CLICK_DAYS }),
    empty: () => convert(tidemark, { offer: empty, days: CLICK_DAYS }),
  });
  row(`postbacks with ${LEDGER_ROWS.toLocaleString("en")} conversions in the ledger, against an empty one`,
    ratios(found, "full", "empty"), "≥ 0.85", rates(found, "full", "empty"));
}

/** Gives the memory at the end, in MB. */
async function measureMemory() {
  // A heap without a bound grows, the floor's too, until V8 thinks it worth its while to collect.
  const { tidemark } = await start("memory", "limited");
  await loadNetwork(tidemark);
  const status = `/proc/${running.workerd.pid}/status`;
  const residentMb = () => Number(/VmRSS:\s*(\d+)/.exec(readFileSync(status, "utf8"))[1]) / 1024;
  const [few, many] = MEMORY_CLICKS;
  loadClick(tidemark, { requests: few });
  const early = residentMb();
  loadClick(tidemark, { requests: many - few });
  const late = residentMb();
  row(`memory after ${many.toLocaleString("en")} clicks, against ${few.toLocaleString("en")}`, [late / early], "≤ 1.05",
    `${shown(early)} MB, ${shown(late)} MB; CI fails above ${MAX_MEMORY_MB} MB`);
  return late;
}

async function measureStart() {
  const later = [];
  for (let n = 0; n < STARTS; n += 1) {
    const times = {};
    for (const name of n % 2 ? ["floor", "tidemark"] : ["tidemark", "floor"]) {
      stop();
      const started = performance.now();
      const urls = await start(`start-${n}-${name}`);
      const answer = await fetch(urls[name] + (name === "floor" ? CLICK : "/healthz"), { redirect: "manual" });
      await answer.text();
      times[name] = performance.now() - started;
    }
    later.push(times.tidemark - times.floor);
  }
  row("first answer of a fresh workerd, later than the floor's, in ms", later, "≤ 40");
}

/** Gives the size in bytes. */
function measureSize() {
  const gzip = gzipSync(readFileSync(join(root, "build/index_bg.wasm")), { level: 9 }).length;
  row("size of the module after gzip, in KB", [gzip / 1000], "≤ 200", `CI fails above ${MAX_GZIP / 1000}`);
  return gzip;
}

function versions() {
  const run = (program, ...args) => execFileSync(program, args, { cwd: root, encoding: "utf8" }).trim();
  return {
    commit: run("git", "rev-parse", "--short", "HEAD") + (run("git", "status", "--porcelain") ? " and changes" : ""),
    machine: `${cpus().length} × ${cpus()[0].model}`,
    workerd: run(join(root, "node_modules/.bin/workerd"), "--version"),
    oha: run(OHA, "--version"),
    rounds: `${ROUNDS} of ${SECONDS} s, ${CONNECTIONS} connections`,
  };
}

try {
  const urls = await start("data");
  await loadNetwork(urls.tidemark);
  await measureClicks(urls);
  await measurePostbacks(urls);
  await measureFullLedger();
  const memory = await measureMemory();
  await measureStart();
  const gzip = measureSize();
  finish(root, versions());
  if (gzip > MAX_GZIP) throw new Error(`the module has ${gzip} bytes after gzip, and may have ${MAX_GZIP}`);
  if (memory > MAX_MEMORY_MB) throw new Error(`workerd takes ${shown(memory)} MB, and may take ${MAX_MEMORY_MB}`);
} finally {
  stop();
  rmSync(folder, { recursive: true, force: true });
}
