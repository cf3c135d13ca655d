# What the benchmark runs: the worker, and plain JavaScript that does the same. `workerd serve
# bench.capnp worker`, from this folder.

using Workerd = import "/workerd/workerd.capnp";

const worker :Workerd.Config = (
  services = [(name = "main", worker = .roomcast), .storage],
  sockets = [.http],
);

const plain :Workerd.Config = (
  services = [(name = "main", worker = .javascript), .storage],
  sockets = [.http],
);

const storage :Workerd.Service = (name = "storage", disk = (path = "storage", writable = true));
const http :Workerd.Socket = (name = "http", address = "127.0.0.1:0", http = (), service = "main");

const roomcast :Workerd.Worker = (
  modules = [
    (name = "index.js", esModule = embed "../../host-worker/dist/index.js"),
    (name = "roomcast.wasm", wasm = embed "../../host-worker/dist/roomcast.wasm"),
  ],
  compatibilityDate = "2026-10-01",
  compatibilityFlags = ["no_web_socket_compression", "enable_request_signal"],
  durableObjectNamespaces = [(className = "NamespaceObject", uniqueKey = "namespace", enableSql = true)],
  durableObjectStorage = (localDisk = "storage"),
  bindings = [
    (name = "NAMESPACES", durableObjectNamespace = "NamespaceObject"),
    (name = "ROOMCAST_API_KEY", text = "bench-key"),
    # One connection publishes for all.
    (name = "ROOMCAST_INBOUND_RATE", text = "off"),
  ],
);

const javascript :Workerd.Worker = (
  modules = [(name = "index.js", esModule = embed "plain.js")],
  compatibilityDate = "2026-10-01",
  compatibilityFlags = ["no_web_socket_compression", "enable_request_signal"],
  durableObjectNamespaces = [(className = "NamespaceObject", uniqueKey = "namespace", enableSql = true)],
  durableObjectStorage = (localDisk = "storage"),
  bindings = [(name = "NAMESPACES", durableObjectNamespace = "NamespaceObject")],
);
