// The state of the page, and small things that all its modules use.

const NAMESPACE = /^[A-Za-z0-9_-]{1,64}$/;

export const byId = (id) => document.getElementById(id);

/** Builds an element. Children are nodes or text, never markup: what a stranger sent stays text. */
export function element(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

/** Storage that may be forbidden, as in a private window: then a choice lasts as long as the page. */
export const stored = {
  read(storage, key) {
    try {
      return window[storage].getItem(key);
    } catch {
      return null;
    }
  },
  write(storage, key, value) {
    try {
      window[storage].setItem(key, value);
    } catch {
      // It is not kept.
    }
  },
};

// A page opened with `#ns=chat` starts in the namespace `chat`; a reload keeps it.
const asked = new URLSearchParams(location.hash.slice(1));
const askedNamespace = asked.get("ns") ?? "";
// A page opened with `#token=` gives it to its clients, and takes it out of the address: what is in an
// address gets into histories and screenshots.
const askedToken = asked.get("token");
if (askedToken) {
  asked.delete("token");
  history.replaceState(null, "", location.pathname + location.search + (asked.size > 0 ? `#${asked}` : ""));
}

/** The state that the modules share. */
export const page = {
  namespace: NAMESPACE.test(askedNamespace) ? askedNamespace : "default",
  /** The token that new clients have, or null. */
  token: askedToken,
  /** The clients, in the order in which they were added. */
  lanes: new Set(),
  /** The client whose controls had the focus last. */
  active: null,
  /** True when new clients show frames, and not messages. */
  isRaw: stored.read("localStorage", "roomcast-raw") === "on",
  apiKey: stored.read("sessionStorage", "roomcast-api-key"),
};

/** The client that commands and rooms in the margin speak of. */
export const activeLane = () => page.active ?? [...page.lanes][0];

/** The client of this page that has, or had, a connection. */
export const laneOf = (conn) => [...page.lanes].find((lane) => lane.conns.includes(conn));

/** A path of the server, relative to the page: a proxy may have put it below a path of its own. */
export const at = (path) => new URL(path, location.origin + location.pathname);

/** The WebSocket of the namespace. */
export function socketAddress() {
  const address = at(page.namespace === "default" ? "ws" : `ws/${page.namespace}`);
  address.protocol = address.protocol.replace("http", "ws");
  return address;
}

/** Calls the HTTP API of the namespace. */
export function callApi(path, options = {}) {
  const headers = page.apiKey ? { Authorization: `Bearer ${page.apiKey}` } : {};
  return fetch(at(`api/v1/${page.namespace}/${path}`), { headers, cache: "no-store", credentials: "omit", ...options });
}

/** A number of things. */
export const counted = (number, thing) => `${number} ${thing}${number === 1 ? "" : "s"}`;

/** Has the browser save a text as a file. */
export function save(download, text) {
  const href = URL.createObjectURL(new Blob([text], { type: "text/plain" }));
  element("a", { href, download }).click();
  setTimeout(() => URL.revokeObjectURL(href));
}

/** Copies the text of an element. */
export async function copy(source, button) {
  const label = button.textContent;
  try {
    await navigator.clipboard.writeText(source.textContent);
    button.textContent = "Copied";
    setTimeout(() => {
      button.textContent = label;
    }, 1200);
  } catch {
    // Only https and loopback pages have a clipboard: elsewhere the text is selected.
    getSelection().selectAllChildren(source);
  }
}
