// Serves the built worker in workerd for one test: node runtime.mjs DATA-FOLDER VARS-AS-JSON
//
// Prints `ready URL` once it answers, then whatever the worker logs, and goes when its standard input closes: on
// request, and also when the test that started it has died.

import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { convertV4MiniflareOptions, Miniflare } from "miniflare";

const [dataFolder, vars] = process.argv.slice(2);
const root = fileURLToPath(new URL("../..", import.meta.url));
const wranglerToml = readFileSync(`${root}/wrangler.toml`, "utf8");

/** The bindings of `wrangler.toml`, read by their shape: wrangler's own reader takes 0.8 s to load, for every test. */
const find = (pattern) => [...wranglerToml.matchAll(pattern)].map((match) => match.slice(1));
const [[compatibilityDate]] = find(/^compatibility_date = "(.+)"/gm);
const kvNamespaces = find(/^\[\[kv_namespaces\]\]\nbinding = "(.+)"/gm).flat();
const durableObjects = find(/^\[\[durable_objects\.bindings\]\]\nname = "(.+)"\nclass_name = "(.+)"/gm);

const runtime = new Miniflare(
  // The options of Miniflare 4, which are documented; those of 5 still move.
  convertV4MiniflareOptions({
    rootPath: root,
    modules: [
      { type: "ESModule", path: "build/entry.js" },
      { type: "ESModule", path: "build/objects.js" },
      { type: "ESModule", path: "build/index.js" },
      { type: "CompiledWasm", path: "build/index_bg.wasm" },
    ],
    compatibilityDate,
    bindings: JSON.parse(vars),
    kvNamespaces,
    durableObjects: Object.fromEntries(
      durableObjects.map(([name, className]) => [name, { className, useSQLite: true }]),
    ),
    host: "127.0.0.1",
    port: 0,
    resourcePersistencePath: dataFolder,
    // What Cloudflare would know of the visitor: always the same, and never asked of the network.
    cf: { country: "DE", regionCode: "BE", city: "Berlin" },
    handleStructuredLogs: ({ level, message }) => console.log(`${level}: ${message}`),
  }),
);

process.stdin.resume().on("close", async () => {
  await runtime.dispose();
  process.exit();
});
console.log(`ready ${(await runtime.ready).origin}`);
