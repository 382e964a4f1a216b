// The Durable Objects: what the runtime calls, for the structs of the same names that keep the ledgers, the registries
// and the catalog. They are called by RPC, with a text for each message and answer: a request would have headers and streams.

import { DurableObject } from "cloudflare:workers";
import * as tidemark from "./index.js";

const keptBy = (Keeper) =>
  class extends DurableObject {
    #keeper;

    constructor(state, env) {
      super(state, env);
      this.#keeper = new Keeper(state, env);
    }

    handle(message) {
      return this.#keeper.handle(message);
    }

    alarm() {
      return this.#keeper.alarm();
    }
  };

export const Catalog = keptBy(tidemark.Catalog);
export class Ledger extends keptBy(tidemark.Ledger) {
  /** Handles messages one after the other, in one turn: what they write becomes durable together. */
  handleAll(messages) {
    return messages.map((message) => this.handle(message));
  }
}
export const Registry = keptBy(tidemark.Registry);
