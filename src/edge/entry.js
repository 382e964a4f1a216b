// The worker's entry. A click that needs nothing but what the isolate knows is answered in one call into WebAssembly;
// everything else goes to the `fetch` of mod.rs. The class that worker-build exports would make an object and three
// proxies for each request.

import Entrypoint from "./index.js";

export * from "./index.js";

const { click, fetch } = Entrypoint.prototype;
const state = globalThis.__worker_init_state;

/** Whether a browser only prepares for a visit that may never come: `fetch` looks closer. */
const isSpeculative = (headers) =>
  headers.has("Sec-Purpose") || headers.has("Purpose") || headers.has("X-Purpose") || headers.has("X-Moz");

export default {
  fetch(request, env, context) {
    // After a panic, which nothing here should ever do, a new instance of the module is made.
    if (state.criticalError) new Entrypoint(context, env);
    try {
      const { url, method } = request;
      if (url.includes("/aff_c?") && (method === "GET" || method === "HEAD")) {
        const { headers } = request;
        if (!isSpeculative(headers)) {
          const ip = headers.get("CF-Connecting-IP") || "";
          const location = click(url, method === "GET", ip, request.cf?.country || "", env, context);
          if (location !== undefined) {
            return new Response(null, { status: 302, headers: { Location: location, "Cache-Control": "no-store" } });
          }
        }
      }
      return fetch.call({ env, ctx: context }, request);
    } catch (error) {
      if (error instanceof WebAssembly.RuntimeError) state.criticalError = true;
      throw error;
    }
  },
};
