// The least that a worker can do: a constant redirect.
export default {
  fetch: () => new Response(null, { status: 302, headers: { Location: "https://shop.example/", "Cache-Control": "no-store" } }),
};
