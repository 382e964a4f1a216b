//! Tidemark is a click redirector and server-postback tracker for performance-marketing networks: one Cloudflare Worker,
//! which speaks the wire protocol of TUNE / HasOffers. The README says how to use it; this page is for who reads or
//! changes the code.
//!
//! # Bird's-eye view
//!
//! A functional core that knows no runtime, and a thin edge around it. A request comes to `edge`; the
//! edge fetches what the core needs, calls the core, and writes down what the core said.
//!
//! There are three planes. **Clicks** happen everywhere and wait for nothing: offer and partner come from the isolate's
//! own copies, the transaction ID is signed on the spot, and sessions go to Workers KV in the background, up to 256 in
//! one value. **Postbacks** must be right: the ID proves itself by its signature, and the offer's ledger, a Durable
//! Object with a SQLite database of its own, decides duplicates and records the conversion in one statement.
//! **Configuration** is rare: the catalog, a Durable Object, judges each change as a whole, and publishes one
//! self-contained document for each offer and partner to KV.
//!
//! # Code map
//!
//! - [`tracking`]: the core. What a click and a postback mean: transaction IDs, offers and their URLs, click pages, the
//!   checks of a postback and its refusals. Pure: time and random bytes are arguments.
//! - [`ledger`]: the conversions of one offer, the raw log of its postbacks and the rollups for reports: schema, SQL, and
//!   the messages to the object that keeps it. Behind the trait [`sql::Sql`], so that the same statements run in a
//!   Durable Object and, in tests, on rusqlite.
//! - [`registry`]: who may record a `conversion_unique_id`, across the network: the protocol between registry and
//!   ledgers, and what a crash at each of its points leaves.
//! - [`catalog`]: what a network configures, its audit trail, the outbox of documents for KV, and how long a copy of one
//!   serves. Behind the same trait.
//! - [`api`]: the management API as it is on the wire: routes, parameters, views, and the OpenAPI document made of them.
//! - [`json`]: JSON, read with the place where it is wrong.
//! - `edge` (wasm32 only): the Workers runtime. `mod.rs` has the routes; `directory` the isolate's copies of the
//!   documents, `click_recorder` the open click page, `ledgers` and `ledger_object` the two ends of a message to a
//!   ledger, `batches` the messages that go there together, `api` the operations of the management API, `settings` all
//!   that is configured in `wrangler.toml`.
//! - `tests/`: black-box tests, which run the built worker in workerd.
//! - `bench/`: the built worker against its baselines, in workerd; `benches/`: the core alone.
//!
//! # Invariants
//!
//! - The core never names the runtime. `worker`, `js-sys` and `getrandom` are dependencies for wasm32 only, so that the
//!   core would not compile natively if it did.
//! - The edge never decides.
//! - A [`tracking::transaction_id::TransactionId`] is genuine, an [`tracking::offer::Offer`] can be clicked: there is no
//!   way to make one that is not.
//! - No `await` stands between the read that decides and the write that records it, and no borrow is held over one.
//! - Statics are caches, the open click page, and the messages that gather for a ledger: plain data, and bounded. A
//!   request goes on in its own context only, and waits for another one for a bounded time.
//! - What outlives a deploy has its bytes pinned by a test: transaction IDs, documents and click pages in KV with their
//!   keys, the SQL schema, the names of objects, the answers to postbacks.
//! - Nothing in `edge` can panic, by lint: a panic kills every request in flight in the isolate.
//! - What goes wrong goes to the log; a client sees a fixed text. Secrets and visitors' addresses go to neither.

pub mod api;
pub mod catalog;
pub mod json;
pub mod ledger;
pub mod registry;
pub mod sql;
pub mod tracking;

#[cfg(target_arch = "wasm32")]
mod edge;
