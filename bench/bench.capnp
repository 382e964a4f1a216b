# Tidemark and its baselines in one plain workerd, each behind a socket of its own. Addresses and the data folder come
# from the command line.
using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (services = .services, sockets = .sockets);

# The same with the memory that an isolate has on Cloudflare's network, in MB.
const limited :Workerd.Config = (services = .services, sockets = .sockets, v8Flags = ["--max-heap-size=128"]);

const services :List(Workerd.Service) = [
  (name = "tidemark", worker = .tidemark),
  (name = "twin", worker = .twin),
  (name = "floor", worker = .floor),
  (name = "kv", worker = .kv),
  (name = "data", disk = (writable = true)),
];

const sockets :List(Workerd.Socket) = [
  (name = "tidemark", http = (), service = "tidemark"),
  (name = "twin", http = (), service = "twin"),
  (name = "floor", http = (), service = "floor"),
  (name = "writes", http = (), service = (name = "kv", entrypoint = "control")),
];

const tidemark :Workerd.Worker = (
  compatibilityDate = "2026-11-17",
  modules = [
    (name = "entry.js", esModule = embed "../build/entry.js"),
    (name = "objects.js", esModule = embed "../build/objects.js"),
    (name = "index.js", esModule = embed "../build/index.js"),
    (name = "index_bg.wasm", wasm = embed "../build/index_bg.wasm"),
  ],
  bindings = [
    (name = "KV", kvNamespace = "kv"),
    (name = "CATALOG", durableObjectNamespace = "Catalog"),
    (name = "LEDGER", durableObjectNamespace = "Ledger"),
    (name = "REGISTRY", durableObjectNamespace = "Registry"),
    (name = "TRANSACTION_KEYS", fromEnvironment = "TRANSACTION_KEYS"),
    (name = "ADMIN_TOKEN", fromEnvironment = "ADMIN_TOKEN"),
  ],
  durableObjectNamespaces = [
    (className = "Catalog", uniqueKey = "Catalog", enableSql = true),
    (className = "Ledger", uniqueKey = "Ledger", enableSql = true),
    (className = "Registry", uniqueKey = "Registry", enableSql = true),
  ],
  durableObjectStorage = (localDisk = "data"),
);

const twin :Workerd.Worker = (
  compatibilityDate = "2026-11-17",
  modules = [(name = "twin.js", esModule = embed "twin.js")],
  bindings = [
    (name = "KV", kvNamespace = "kv"),
    (name = "TWIN_LEDGER", durableObjectNamespace = "TwinLedger"),
    (name = "TRANSACTION_KEYS", fromEnvironment = "TRANSACTION_KEYS"),
  ],
  durableObjectNamespaces = [(className = "TwinLedger", uniqueKey = "TwinLedger", enableSql = true)],
  durableObjectStorage = (localDisk = "data"),
);

const floor :Workerd.Worker = (
  compatibilityDate = "2026-11-17",
  modules = [(name = "floor.js", esModule = embed "floor.js")],
);

const kv :Workerd.Worker = (
  compatibilityDate = "2026-11-17",
  modules = [(name = "kv.js", esModule = embed "kv.js")],
);
