// The worker's entry. A click that needs nothing but what the isolate knows is answered in one call into WebAssembly;
// everything else goes to the `fetch` of mod.rs. The class that worker-build exports would make an object and three
// proxies for each request.
//
// What a click reads and what it answers is ASCII, and crosses in a buffer that both sides know: TextEncoder and
// TextDecoder, which wasm-bindgen uses for a string, are calls out of V8 and took longer than all the rest of a click.

import Entrypoint from "./index.js";

export * from "./objects.js";

const { click, click_buffer, click_buffer_bytes, fetch, linear_memory } = Entrypoint.prototype;
const state = globalThis.__worker_init_state;

let buffer = new Uint8Array();

/** The buffer; when the memory grows, older views of it become empty. */
function view() {
  if (!buffer.length) buffer = new Uint8Array(linear_memory().buffer, click_buffer(), click_buffer_bytes());
  return buffer;
}

/** Puts an ASCII text into the buffer; false if it is none, or does not fit. */
function put(text) {
  const bytes = view();
  const { length } = text;
  if (length > bytes.length) return false;
  for (let i = 0; i < length; i += 1) {
    const code = text.charCodeAt(i);
    if (code > 127) return false;
    bytes[i] = code;
  }
  return true;
}

/** Whether a browser only prepares for a visit that may never come: `fetch` looks closer. */
const isSpeculative = (headers) =>
  headers.has("Sec-Purpose") || headers.has("Purpose") || headers.has("X-Purpose") || headers.has("X-Moz");

/** The answer to a click, if it needs no waiting. */
function answerAtOnce(request, url, isVisit, env, context) {
  const { headers } = request;
  if (isSpeculative(headers)) return undefined;
  const text = `${headers.get("CF-Connecting-IP") || ""}\n${request.cf?.country || ""}\n${url}`;
  if (!put(text)) return undefined;
  const length = click(text.length, isVisit, env, context);
  if (!length) return undefined;
  const location = String.fromCharCode.apply(null, view().subarray(0, length));
  return new Response(null, { status: 302, headers: { Location: location, "Cache-Control": "no-store" } });
}

export default {
  fetch(request, env, context) {
    // After a panic, which nothing here should ever do, a new instance of the module is made, with a new memory.
    if (state.criticalError) {
      new Entrypoint(context, env);
      buffer = new Uint8Array();
    }
    try {
      const { url, method } = request;
      if (url.includes("/aff_c?") && (method === "GET" || method === "HEAD")) {
        const answer = answerAtOnce(request, url, method === "GET", env, context);
        if (answer) return answer;
      }
      return fetch.call({ env, ctx: context }, request);
    } catch (error) {
      if (error instanceof WebAssembly.RuntimeError) state.criticalError = true;
      throw error;
    }
  },
};
