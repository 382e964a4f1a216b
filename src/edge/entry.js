// The worker's entry. A click that needs nothing but what the isolate knows, and a postback that is refused whatever the
// storage says, are answered in one call into WebAssembly; everything else goes to the `fetch` of mod.rs. The class that
// worker-build exports would make an object and three proxies for each request.
//
// What these read and answer is ASCII, and crosses in a buffer that both sides know: TextEncoder and TextDecoder, which
// wasm-bindgen uses for a string, are calls out of V8 and took longer than all the rest of a click.

import Entrypoint from "./index.js";

export * from "./objects.js";

const { buffer, buffer_bytes, click, fetch, linear_memory, refuse } = Entrypoint.prototype;
const state = globalThis.__worker_init_state;

// workerd's own is a call into C++ for each task; V8's are not. A panic in a task is an unhandled rejection now.
const settled = Promise.resolve();
globalThis.queueMicrotask = (task) => void settled.then(task);
addEventListener("unhandledrejection", ({ reason }) => {
  if (reason instanceof WebAssembly.RuntimeError) state.criticalError = true;
});

let shared = new Uint8Array();

/** The buffer; when the memory grows, older views of it become empty. */
function view() {
  if (!shared.length) shared = new Uint8Array(linear_memory().buffer, buffer(), buffer_bytes());
  return shared;
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

/** The text that the buffer begins with. */
const take = (length) => String.fromCharCode.apply(null, view().subarray(0, length));

/** Whether a browser only prepares for a visit that may never come: `fetch` looks closer. */
const isSpeculative = (headers) =>
  headers.has("Sec-Purpose") || headers.has("Purpose") || headers.has("X-Purpose") || headers.has("X-Moz");

/** The answer to a click, if it needs no waiting. */
function redirectAtOnce(request, url, isVisit, env, context) {
  const { headers } = request;
  if (isSpeculative(headers)) return undefined;
  // Only a visit has a session; a macro that wants more goes the general way.
  const visitor = isVisit ? `${headers.get("CF-Connecting-IP") || ""}\n${request.cf?.country || ""}` : "\n";
  const text = `${visitor}\n${url}`;
  const length = put(text) && click(text.length, isVisit, env, context);
  if (!length) return undefined;
  return new Response(null, { status: 302, headers: { Location: take(length), "Cache-Control": "no-store" } });
}

/** The same headers as those of respond.rs; a response copies them faster than it reads an object. */
const REFUSED = {
  headers: new Headers({
    "Content-Type": "text/plain; charset=utf-8",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
  }),
};

/** The answer to a postback that is refused, if it needs no waiting. */
function refuseAtOnce(request, url, env) {
  const text = `${request.headers.get("CF-Connecting-IP") || ""}\n${url}`;
  const length = put(text) && refuse(text.length, env);
  return length ? new Response(take(length), REFUSED) : undefined;
}

function answerAtOnce(request, env, context) {
  const { url, method } = request;
  const isGet = method === "GET";
  if (url.includes("/aff_c?")) {
    return isGet || method === "HEAD" ? redirectAtOnce(request, url, isGet, env, context) : undefined;
  }
  return isGet && (url.includes("/aff_lsr?") || url.includes("/aff_goal?")) ? refuseAtOnce(request, url, env) : undefined;
}

export default {
  fetch(request, env, context) {
    // After a panic, which nothing here should ever do, a new instance of the module is made, with a new memory.
    if (state.criticalError) {
      new Entrypoint(context, env);
      shared = new Uint8Array();
    }
    try {
      return answerAtOnce(request, env, context) || fetch.call({ env, ctx: context }, request);
    } catch (error) {
      if (error instanceof WebAssembly.RuntimeError) state.criticalError = true;
      throw error;
    }
  },
};
