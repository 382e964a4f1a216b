// Serves the built worker on plain workerd, with a KV namespace that misbehaves as it is told (lagging.capnp):
// node lagging.mjs DATA-FOLDER VARS-AS-JSON
//
// Prints `control URL` and `ready URL`, then whatever the worker logs, and goes when its standard input closes.

import { spawn } from "node:child_process";
import { mkdirSync } from "node:fs";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const [dataFolder, vars] = process.argv.slice(2);
mkdirSync(dataFolder, { recursive: true });

const path = (file) => fileURLToPath(new URL(file, import.meta.url));
const workerd = spawn(
  path("../../node_modules/.bin/workerd"),
  [
    ...["serve", path("lagging.capnp"), "--control-fd=3", `--directory-path=data=${dataFolder}`],
    ...["--socket-addr=http=127.0.0.1:0", "--socket-addr=control=127.0.0.1:0"],
  ],
  { env: { ...process.env, ...JSON.parse(vars) }, stdio: ["ignore", "inherit", "inherit", "pipe"] },
);
workerd.on("exit", (code) => process.exit(code ?? 1));
process.stdin.resume().on("close", () => workerd.kill("SIGKILL"));

const ports = {};
createInterface({ input: workerd.stdio[3] }).on("line", (line) => {
  const { event, socket, port } = JSON.parse(line);
  if (event === "listen") ports[socket] = port;
  if (ports.http && ports.control) {
    console.log(`control http://127.0.0.1:${ports.control}`);
    console.log(`ready http://127.0.0.1:${ports.http}`);
  }
});
