// The KV namespace of the bench: speaks the protocol that workerd expects behind a `kvNamespace`, and counts writes.
// GET /count on the control socket gives them.

const MAX_PAGES = 200;
const values = new Map();
const pages = [];
let writes = 0;

export const control = {
  fetch: () => new Response(String(writes)),
};

export default {
  async fetch(request) {
    const key = decodeURIComponent(new URL(request.url).pathname.slice(1));
    if (request.method === "PUT") {
      const value = await request.text();
      writes += 1;
      // Click pages are many, and only the newest of them are read again.
      if (key.startsWith("clicks:") && pages.push(key) > MAX_PAGES) values.delete(pages.shift());
      values.set(key, value);
      return new Response(null, { status: 204 });
    }
    const value = values.get(key);
    return value === undefined ? new Response(null, { status: 404 }) : new Response(value);
  },
};
