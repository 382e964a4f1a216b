// The built worker with ledgers that are far away: a call takes LEDGER_WAIT milliseconds more.

import worker, { Ledger as Near } from "./entry.js";

export * from "./entry.js";

export class Ledger extends Near {
  async handle(messages) {
    if (this.env.LEDGER_WAIT) await new Promise((done) => setTimeout(done, this.env.LEDGER_WAIT));
    return super.handle(messages);
  }
}

export default worker;
