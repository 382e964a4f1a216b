// A KV namespace that misbehaves as it is told: speaks the protocol that workerd expects behind a `kvNamespace`.
//
// PUT /mode on the control socket takes JSON, which stays until the next one:
//   showAfter  how many milliseconds after its write a value is shown; null: never
//   wait       how many milliseconds every answer takes
//   failReads, failWrites

const values = new Map();
let mode = {};

export const control = {
  async fetch(request) {
    mode = await request.json();
    return new Response("");
  },
};

export default {
  async fetch(request) {
    const key = decodeURIComponent(new URL(request.url).pathname.slice(1));
    const { showAfter = 0, wait = 0, failReads, failWrites } = mode;
    if (wait) await new Promise((done) => setTimeout(done, wait));
    if (request.method === "PUT") {
      const value = await request.text();
      if (failWrites) return new Response("out of order", { status: 500 });
      values.set(key, { value, from: showAfter === null ? Infinity : Date.now() + showAfter });
      return new Response(null, { status: 204 });
    }
    if (failReads) return new Response("out of order", { status: 500 });
    const found = values.get(key);
    return found && found.from <= Date.now() ? new Response(found.value) : new Response(null, { status: 404 });
  },
};
