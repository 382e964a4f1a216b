// Sends requests, sixteen at a time unless told otherwise, and fails at the first bad answer.

import { execFileSync } from "node:child_process";
import { Agent, request } from "node:http";
import { fileURLToPath } from "node:url";

export const CONNECTIONS = 16;
export const OHA = fileURLToPath(new URL("../target/tools/bin/oha", import.meta.url));

/** Loads a URL for some seconds, or with so many requests; gives requests a second and the median latency in ms. */
export function load(url, status, { method = "GET", connections = CONNECTIONS, seconds, requests }) {
  const length = requests ? ["-n", requests] : ["-z", `${seconds}s`];
  const args = ["--no-tui", "--output-format", "json", "--redirect", "0", "-m", method, "-c", connections, ...length, url];
  const found = JSON.parse(execFileSync(OHA, args.map(String), { encoding: "utf8", maxBuffer: 1 << 26 }));
  const answers = { ...found.statusCodeDistribution };
  delete answers[status];
  // A load that ends by the clock gives up what is under way.
  const errors = Object.entries(found.errorDistribution || {}).filter(([name]) => !name.includes("deadline"));
  if (Object.keys(answers).length || errors.length) {
    throw new Error(`bad answers of ${url}: ${JSON.stringify({ answers, errors })}`);
  }
  return { perSecond: found.summary.requestsPerSec, latency: found.latencyPercentiles.p50 * 1000 };
}

/** Fires a postback for each ID, and gives how many were accepted a second. */
export async function firePostbacks(url, ids, connections = CONNECTIONS) {
  const agent = new Agent({ keepAlive: true, maxSockets: connections });
  const get = (path) =>
    new Promise((done, failed) => {
      request(url + path, { agent }, (answer) => {
        let body = "";
        answer.setEncoding("utf8").on("data", (text) => (body += text)).on("end", () => done(body));
      }).on("error", failed).end();
    });
  const left = [...ids];
  const fire = async () => {
    for (let id = left.pop(); id; id = left.pop()) {
      const body = await get(`/aff_lsr?transaction_id=${id}&amount=20`);
      if (body !== "success=true;") throw new Error(`bad answer of ${url}: ${body}`);
    }
  };
  const started = performance.now();
  await Promise.all(Array.from({ length: connections }, fire));
  const seconds = (performance.now() - started) / 1000;
  agent.destroy();
  return { perSecond: ids.length / seconds };
}
