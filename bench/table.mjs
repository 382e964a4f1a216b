// The table of what was measured, in Markdown and JSON.

import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const FOLDER = "target/bench";

export const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];
export const shown = (value) => (value >= 100 ? Math.round(value).toLocaleString("en") : value.toFixed(2));

/** What each round found of `a`, divided by what it found of `b`. */
export const ratios = (rounds, a, b, figure = "perSecond") => rounds.map((round) => round[a][figure] / round[b][figure]);

/** The median rates of some that were loaded, for the last column. */
export const rates = (rounds, ...names) =>
  names.map((name) => `${name} ${shown(median(rounds.map((round) => round[name].perSecond)))}/s`).join(", ");

const rows = [];

/** Adds a row: what was measured, the value of each round, and what the median shall be. */
export function row(measure, values, aim, detail = "") {
  const spread = values.length > 1 ? `${shown(Math.min(...values))} – ${shown(Math.max(...values))}` : "";
  rows.push({ measure, median: median(values), spread, aim, detail, values });
  console.log(`${measure}: ${shown(median(values))} (${spread}) ${detail}`);
}

/** Writes and prints the table. */
export function finish(root, versions) {
  const lines = rows.map(({ measure, median, spread, aim, detail }) =>
    `| ${measure} | ${shown(median)} | ${spread} | ${aim} | ${detail} |`);
  const table = ["| measure | median | spread | aim | |", "|---|---|---|---|---|", ...lines, "",
    Object.entries(versions).map(([name, value]) => `${name}: ${value}`).join("; "), ""].join("\n");
  mkdirSync(join(root, FOLDER), { recursive: true });
  writeFileSync(join(root, FOLDER, "results.md"), table);
  writeFileSync(join(root, FOLDER, "results.json"), JSON.stringify({ versions, rows }, null, 2));
  console.log(`\n${table}\nAlso in ${FOLDER}/results.md and results.json.`);
}
