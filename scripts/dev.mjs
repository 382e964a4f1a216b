// What `npm start` and `npm test` do. Each step of the set-up is skipped when there is nothing to do, so that all but
// the first run start at once and need no network.
//
//   setup   installs what is missing below node_modules/ and target/, and makes keys for local use
//   build   set-up, then the worker: src/ -> build/
//   start   build, then `wrangler dev`, with the demo network loaded; `--empty`: with nothing; further arguments go to
//           wrangler
//   test    build, then `cargo test`; further arguments go to cargo
//   prove   build, then the tests that break things, one after the other; a further argument is a
//           percentage of their size
//   contract  build, then schemathesis against the API's own description; needs Python 3.10 or newer
//   bench   build, then Tidemark against its baselines (bench/); `--quick`: in under two minutes
//   fuzz    the fuzz targets, one after the other; a further argument is how many seconds each takes

import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import fs from "node:fs";
import { createServer } from "node:net";
import { homedir } from "node:os";
import { delimiter, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

// In step with Cargo.toml: wasm-bindgen with the crate of that name, worker-build with `worker`.
const TOOLS = [
  { crate: "wasm-bindgen-cli", program: "wasm-bindgen", version: "0.2.129" },
  { crate: "worker-build", program: "worker-build", version: "0.8.7" },
];
const SCHEMATHESIS = "4.32.5";
const OHA = "1.16.0";
const OLDEST_NODE = 20;
const DEFAULT_PORT = "8787";
const STOP_TIMEOUT_MS = 3000;
const POLL_MS = 50;

process.chdir(fileURLToPath(new URL("..", import.meta.url)));
const [command, ...args] = process.argv.slice(2);

const environment = {
  ...process.env,
  // The pinned Node and tools come first. rustup's folder comes last, for a shell that has not heard of it yet.
  PATH: [resolve("node_modules/.bin"), resolve("target/tools/bin"), process.env.PATH, join(homedir(), ".cargo/bin")]
    .join(delimiter),
  // worker-build would download these three.
  WASM_BINDGEN_BIN: resolve("target/tools/bin/wasm-bindgen"),
  WASM_OPT_BIN: resolve("node_modules/.bin/wasm-opt"),
  ESBUILD_BIN: resolve("node_modules/.bin/esbuild"),
  // wrangler would use the network at every start.
  CLOUDFLARE_CF_FETCH_ENABLED: "false",
  WRANGLER_SEND_METRICS: "false",
};

async function setup() {
  const targets = await run("rustup", ["target", "list", "--installed"], { quiet: true });
  if (targets.missing) fail("Rust is missing: install it from https://rustup.rs, then run this again.");
  if (targets.code !== 0 || !targets.output.includes("wasm32-unknown-unknown")) {
    await step("Installing the Rust toolchain", "rustup", ["toolchain", "install", "--no-self-update"]);
  }

  // npm writes the first file when it has installed everything.
  if (modified("node_modules/.package-lock.json") < modified("package-lock.json")) {
    await step("Installing wrangler and what it needs", "npm", ["ci", "--prefer-offline", "--fetch-retries=1"]);
  }

  for (const tool of TOOLS) await install(tool);
  fs.rmSync("target/tools/build", { recursive: true, force: true });

  if (!fs.existsSync(".dev.vars")) {
    console.log("Making keys for local use: .dev.vars");
    const key = () => randomBytes(32).toString("hex");
    fs.writeFileSync(".dev.vars", `TRANSACTION_KEYS=1:${key()}\nADMIN_TOKEN=${key()}\n`, { mode: 0o600 });
  }
}

async function install({ crate, program, version, options = ["--debug", "--config", "profile.dev.debug=false"] }) {
  const installed = await run(`target/tools/bin/${program}`, ["--version"], { quiet: true });
  if (installed.output.includes(version)) return;
  // Not optimised: compiles twice as fast, and is fast enough. The tools share what they all depend on.
  await step(`Compiling ${crate} ${version}, for about a minute`, "cargo", [
    ...["install", `${crate}@${version}`, "--bin", program, "--locked", ...options],
    ...["--root", "target/tools", "--target-dir", "target/tools/build"],
  ]);
}

async function build() {
  await setup();
  const sources = ["src", "Cargo.toml", "Cargo.lock", "rust-toolchain.toml"];
  if (modified("build/index_bg.wasm") >= Math.max(...sources.map(modified))) return;

  await step("Fetching the crates", "cargo", ["fetch"]);
  console.log("Building the worker …");
  const started = new Date();
  const { code } = await run("worker-build", ["--release"]);
  if (code !== 0) process.exit(1);
  // worker-build keeps the names of all functions, an eighth of the module, for stack traces of panics.
  const wasm = "build/index_bg.wasm";
  await step("Taking out the names", "wasm-opt", ["--strip-debug", wasm, "-o", wasm]);
  for (const file of ["entry.js", "objects.js"]) fs.copyFileSync(`src/edge/${file}`, `build/${file}`);
  // A file saved during the build is newer than the build.
  fs.utimesSync(wasm, started, started);
}

async function start() {
  const port = option("--port") || DEFAULT_PORT;
  const isEmpty = args.includes("--empty");
  const forWrangler = args.filter((arg) => arg !== "--empty");
  await checkPort(port);
  await build();
  // Whenever wrangler goes, so does this script.
  run("wrangler", ["dev", ...(option("--port") ? [] : ["--port", port]), ...forWrangler]).then(({ code }) => process.exit(code));

  const worker = `http://localhost:${port}`;
  while (!(await fetch(`${worker}/healthz`).catch(() => false))) await sleep(POLL_MS);
  await ask("The worker is not ready", `${worker}/healthz`);

  const data = resolve(option("--persist-to") || ".wrangler/state");
  if (isEmpty) {
    console.log(`\nThe API's docs:  ${worker}/api\nThe data is in   ${data}\n`);
    return;
  }
  await loadDemo(`${worker}/api/v1`);
  const link = `${worker}/aff_c?offer_id=1&aff_id=2&aff_sub=demo&source=readme`;
  const click = await ask("The first click failed", `${link}&format=json`);
  const { transaction_id: id } = await click.json();

  console.log(`
The API's docs: ${worker}/api
Tracking link:  curl -i '${link}'
Its postback:   curl '${worker}/aff_lsr?transaction_id=${id}&amount=20'
The data is in  ${data}
`);
}

/** Creates what is not there yet of the demo network. */
async function loadDemo(api) {
  const [, token] = fs.readFileSync(".dev.vars", "utf8").match(/^ADMIN_TOKEN *= *["']?([^"'\s]*)/m) || [];
  const headers = { authorization: `Bearer ${token}` };
  const demo = JSON.parse(fs.readFileSync("demo/network.json"));
  for (const [kind, entities] of Object.entries(demo)) {
    for (const entity of entities) {
      const answer = await fetch(`${api}/${kind}`, { method: "POST", headers, body: JSON.stringify(entity) });
      // A conflict: an earlier run has created it, and somebody may have changed it since.
      if (!answer.ok && answer.status !== 409) fail(`The demo network was not loaded: ${await answer.text()}`);
    }
  }
}

async function test() {
  await build();
  await runOrExit("cargo", ["test", ...args]);
}

async function prove() {
  const percent = args[0] || "100";
  await build();
  // The models are quick enough for 100,000 cases at any size.
  environment.PROPTEST_CASES = String(1000 * Math.max(100, percent));
  environment.TIDEMARK_PROVE = percent;
  await runOrExit("cargo", ["test", "--lib", "model", "--", "--nocapture"]);
  await runOrExit("cargo", ["test", "--test", "prove", "--", "--test-threads=1", "--nocapture"]);
}

async function contract() {
  await build();
  const python = "target/tools/python";
  const installed = await run(`${python}/bin/st`, ["--version"], { quiet: true });
  if (!installed.output.includes(SCHEMATHESIS)) {
    await step("Making a Python environment", "python3", ["-m", "venv", "--clear", python]);
    await step("Installing schemathesis", `${python}/bin/pip`, ["install", `schemathesis==${SCHEMATHESIS}`]);
  }
  await runOrExit("cargo", ["test", "--test", "contract", "--", "--ignored", "--nocapture"]);
}

async function fuzz() {
  const seconds = args[0] || "60";
  await setup();
  await install({ crate: "cargo-fuzz", program: "cargo-fuzz", version: "0.13.2" });
  const targets = fs.readdirSync("fuzz/fuzz_targets").map((file) => file.replace(".rs", ""));
  for (const target of targets) {
    console.log(`Fuzzing ${target} for ${seconds} s …`);
    // What is found goes to the first folder; the second is in the repository.
    const corpora = [`fuzz/target/corpus/${target}`, `fuzz/corpus/${target}`];
    fs.mkdirSync(corpora[0], { recursive: true });
    await runOrExit("cargo-fuzz", [
      // A sanitizer needs a nightly compiler, and the code is safe Rust: panics are found without one.
      ...["run", "--sanitizer=none", target, ...corpora, "--"],
      ...[`-max_total_time=${seconds}`, "-print_final_stats=1"],
    ]);
  }
}

async function bench() {
  await build();
  // Optimised: it must not be slower than what it loads.
  await install({ crate: "oha", program: "oha", version: OHA, options: [] });
  await runOrExit("node", ["bench/run.mjs", ...args]);
}

async function runOrExit(program, programArgs) {
  const { code } = await run(program, programArgs);
  if (code !== 0) process.exit(code);
}

/** A step of the set-up: says what it does, and shows what the tool says only if it fails. */
async function step(what, program, programArgs) {
  console.log(`${what} …`);
  const { code, output } = await run(program, programArgs, { quiet: true });
  if (code === 0) return;
  const unreachable =
    /ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH|could not (resolve|connect)|couldn't (resolve|connect)|failed to (download|lookup)|could not download|timed? ?out/i;
  if (unreachable.test(output)) {
    fail(`A package registry cannot be reached by ${program}: check the network or its proxy, then run this again.`);
  }
  fail(`${output}\nThis failed: ${[program, ...programArgs].join(" ")}`);
}

async function ask(failure, url, request) {
  const answer = await fetch(url, request);
  if (!answer.ok) fail(`${failure}: ${answer.status} ${await answer.text()}`);
  return answer;
}

let running;
let stopping;

/** Runs a program in a process group of its own, so that it can be stopped with all that it has started. */
function run(program, programArgs, { quiet = false } = {}) {
  return new Promise((done) => {
    const stdio = ["ignore", ...(quiet ? ["pipe", "pipe"] : ["inherit", "inherit"])];
    const child = spawn(program, programArgs, { env: environment, stdio, detached: true });
    if (child.pid === undefined) {
      child.on("error", ({ message }) => done({ missing: true, code: 1, output: message }));
      return;
    }
    running = child;
    let output = "";
    for (const stream of quiet ? [child.stdout, child.stderr] : []) {
      stream.setEncoding("utf8").on("data", (text) => (output += text));
    }
    child.on("close", (code) => {
      signalRunning("SIGKILL");
      running = undefined;
      if (stopping) process.exit(stopping);
      done({ code: code === null ? 1 : code, output });
    });
  });
}

function signalRunning(signal) {
  try {
    process.kill(-running.pid, signal);
  } catch (_) {
    // Nothing of it is left.
  }
}

for (const [signal, number] of [["SIGHUP", 1], ["SIGINT", 2], ["SIGTERM", 15]]) {
  process.on(signal, () => {
    stopping = 128 + number;
    if (!running) process.exit(stopping);
    signalRunning("SIGTERM");
    setTimeout(() => process.exit(stopping), STOP_TIMEOUT_MS);
  });
}
process.on("exit", () => running && signalRunning("SIGKILL"));

function checkPort(port) {
  return new Promise((free) => {
    const probe = createServer().listen(port, "localhost", () => probe.close(free));
    probe.on("error", ({ code }) => {
      const why = code === "EADDRINUSE" ? "is in use" : `cannot be used (${code})`;
      fail(`Port ${port} ${why}: stop what uses it, or choose another, like this: npm start -- --port 9000`);
    });
  });
}

/** When a file was last modified, or the newest file in a folder; 0 if there is none. */
function modified(path) {
  if (!fs.existsSync(path)) return 0;
  const stat = fs.statSync(path);
  if (!stat.isDirectory()) return stat.mtimeMs;
  return Math.max(0, ...fs.readdirSync(path).map((name) => modified(join(path, name))));
}

/** The value of an option among the arguments: `--name value` or `--name=value`. */
function option(name) {
  const at = args.findIndex((arg) => arg === name || arg.startsWith(`${name}=`));
  if (at < 0) return undefined;
  return args[at] === name ? args[at + 1] : args[at].slice(name.length + 1);
}

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

function fail(line) {
  console.error(line);
  process.exit(1);
}

const commands = { setup, build, start, test, prove, contract, bench, fuzz };
if (parseInt(process.versions.node) < OLDEST_NODE) {
  fail(`Node ${OLDEST_NODE} or newer is needed, and this is ${process.version}: install it from https://nodejs.org.`);
}
if (!commands[command]) fail(`Usage: node scripts/dev.mjs ${Object.keys(commands).join("|")}`);
commands[command]().catch((error) => stopping || fail(error.message));
