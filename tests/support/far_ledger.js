// The built worker with ledgers that are far away: a call takes LEDGER_WAIT milliseconds more, and says how many messages
// it has.

import worker, { Ledger as Near } from "./entry.js";

export * from "./entry.js";

export class Ledger extends Near {
  async handle(messages) {
    const { LEDGER_WAIT } = this.env;
    if (LEDGER_WAIT) {
      console.log(`messages: ${messages.length}`);
      await new Promise((done) => setTimeout(done, LEDGER_WAIT));
    }
    return super.handle(messages);
  }
}

export default worker;
