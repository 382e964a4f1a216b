// Fills a ledger: writes conversions into the database of its Durable Object while no runtime has it open. They have the
// columns that most have; their clicks are spread over the days before, like those of the postbacks that are measured.

import { readdirSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { invent } from "./ids.mjs";

const STEPS = 1_000;

/** Adds conversions to the only ledger in a data folder; clicks are at most `days` old. */
export function fillLedger(dataFolder, conversions, days) {
  const folder = join(dataFolder, "Ledger");
  const [file] = readdirSync(folder).filter((name) => name.endsWith(".sqlite"));
  const database = new DatabaseSync(join(folder, file));
  const index = database.prepare("SELECT sql FROM sqlite_schema WHERE name = 'conversions_by_transaction'").get().sql;
  database.exec("PRAGMA synchronous = OFF; DROP INDEX conversions_by_transaction");
  const insert = database.prepare(
    `INSERT INTO conversions (id, transaction_id, clicked_at, session, country, click_ip, source, aff_sub, partner_id, status,
       amount, payout, revenue, currency, received_at, sender_ip)
     VALUES (?, ?, ?, 'recorded', 'DE', '203.0.113.99', 'awesomepub', '109581A', 2, 'approved', 200000, 15000, 20000, 'USD',
       ?, '203.0.113.7')`,
  );
  const now = Date.now();
  const start = now - 86_400_000;
  database.exec("BEGIN");
  for (let n = 0; n < conversions; n += 1) {
    const receivedAt = start + Math.floor(n / STEPS);
    const clickedAt = Math.floor(now / 1000 - Math.random() * days * 86_400);
    insert.run(receivedAt * STEPS + (n % STEPS), invent(clickedAt), clickedAt * 1000, receivedAt);
  }
  database.exec("COMMIT");
  database.exec(index);
  database.close();
}
