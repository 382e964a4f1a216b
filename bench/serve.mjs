// Serves Tidemark and its baselines from one plain workerd (bench.capnp).
//
// As a program, for tests: node serve.mjs DATA-FOLDER VARS-AS-JSON prints `twin URL` and `ready URL`, then whatever the
// workers log, and goes when its standard input closes.

import { spawn } from "node:child_process";
import { mkdirSync } from "node:fs";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const path = (file) => fileURLToPath(new URL(file, import.meta.url));
const SOCKETS = ["tidemark", "twin", "floor", "writes"];

/** Starts workerd with one of the configs in bench.capnp, and gives its process and each socket's URL once it listens. */
export function serve(dataFolder, vars, config = "config") {
  mkdirSync(dataFolder, { recursive: true });
  const workerd = spawn(
    path("../node_modules/.bin/workerd"),
    [
      ...["serve", path("bench.capnp"), config, "--control-fd=3", `--directory-path=data=${dataFolder}`],
      ...SOCKETS.map((socket) => `--socket-addr=${socket}=127.0.0.1:0`),
    ],
    { env: { ...process.env, ...vars }, stdio: ["ignore", "inherit", "inherit", "pipe"] },
  );
  const urls = {};
  return new Promise((ready, failed) => {
    workerd.on("exit", (code) => failed(new Error(`workerd ended with ${code}`)));
    createInterface({ input: workerd.stdio[3] }).on("line", (line) => {
      const { event, socket, port } = JSON.parse(line);
      if (event === "listen") urls[socket] = `http://127.0.0.1:${port}`;
      if (Object.keys(urls).length === SOCKETS.length) ready({ workerd, urls });
    });
  });
}

if (process.argv[1] === path("serve.mjs")) {
  const [dataFolder, vars] = process.argv.slice(2);
  const { workerd, urls } = await serve(dataFolder, JSON.parse(vars));
  workerd.on("exit", () => process.exit(1));
  process.stdin.resume().on("close", () => {
    workerd.kill("SIGKILL");
    process.exit();
  });
  console.log(`twin ${urls.twin}`);
  console.log(`ready ${urls.tidemark}`);
}
