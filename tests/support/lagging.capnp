# The built worker on plain workerd, with a KV namespace that misbehaves as it is told (lagging_kv.js), and ledgers that
# are far away (far_ledger.js).
# Addresses and the data folder come from the command line.
using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [
    (name = "tidemark", worker = .tidemark),
    (name = "kv", worker = .kv),
    (name = "data", disk = (writable = true)),
  ],
  sockets = [
    (name = "http", http = (), service = "tidemark"),
    (name = "control", http = (), service = (name = "kv", entrypoint = "control")),
  ],
);

const tidemark :Workerd.Worker = (
  compatibilityDate = "2026-11-17",
  modules = [
    (name = "far_ledger.js", esModule = embed "far_ledger.js"),
    (name = "entry.js", esModule = embed "../../build/entry.js"),
    (name = "objects.js", esModule = embed "../../build/objects.js"),
    (name = "index.js", esModule = embed "../../build/index.js"),
    (name = "index_bg.wasm", wasm = embed "../../build/index_bg.wasm"),
  ],
  bindings = [
    (name = "KV", kvNamespace = "kv"),
    (name = "CATALOG", durableObjectNamespace = "Catalog"),
    (name = "LEDGER", durableObjectNamespace = "Ledger"),
    (name = "REGISTRY", durableObjectNamespace = "Registry"),
    (name = "TRANSACTION_KEYS", fromEnvironment = "TRANSACTION_KEYS"),
    (name = "ADMIN_TOKEN", fromEnvironment = "ADMIN_TOKEN"),
    (name = "LEDGER_WAIT", fromEnvironment = "LEDGER_WAIT"),
    # Seconds longer than a page takes to be written and shown, on a busy machine too: the next search is minutes later.
    (name = "FIRST_SESSION_SEARCH_SECONDS", text = "8"),
  ],
  durableObjectNamespaces = [
    (className = "Catalog", uniqueKey = "Catalog", enableSql = true),
    (className = "Ledger", uniqueKey = "Ledger", enableSql = true),
    (className = "Registry", uniqueKey = "Registry", enableSql = true),
  ],
  durableObjectStorage = (localDisk = "data"),
);

const kv :Workerd.Worker = (
  compatibilityDate = "2026-11-17",
  modules = [(name = "lagging_kv.js", esModule = embed "lagging_kv.js")],
);
