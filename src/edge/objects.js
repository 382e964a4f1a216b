// The Durable Objects: what the runtime calls, for the structs of the same names that keep the ledgers, the registries
// and the catalog. They are called by RPC, with a text for each message and answer: a request would have headers and
// streams.

import { DurableObject } from "cloudflare:workers";
import * as tidemark from "./index.js";

const keptBy = (Keeper) =>
  class extends DurableObject {
    #keeper;

    constructor(state, env) {
      super(state, env);
      this.#keeper = new Keeper(state, env);
    }

    /** Handles messages one after the other: what they write in one turn becomes durable together. */
    handle(messages) {
      return Promise.all(messages.map((message) => this.#keeper.handle(message)));
    }

    alarm() {
      return this.#keeper.alarm();
    }
  };

export const Catalog = keptBy(tidemark.Catalog);
export const Ledger = keptBy(tidemark.Ledger);
export const Registry = keptBy(tidemark.Registry);
