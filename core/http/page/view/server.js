// The server as it describes itself: by `/server`, by its metrics, and by its welcome to a client.

import { activeLane, at, byId, element } from "../shared.js";

/** The value of a metric without labels. */
const metric = (text, name) => Number(text.match(new RegExp(`^${name} (\\S+)$`, "m"))?.[1]);

const duration = (s) => (s < 120 ? `${Math.round(s)} s` : s < 7200 ? `${Math.round(s / 60)} min` : `${Math.round(s / 3600)} h`);

const STORES = { memory: "none: histories end with the process", disk: "histories are on disk", relay: "histories are with the relay", durable_object: "the storage of each Durable Object" };
const HOSTS = { native: "native", worker: "worker: a Durable Object for each namespace" };

/** The answer to a question of the card, or null. */
async function ask(path) {
  const response = await fetch(at(path), { cache: "no-store", credentials: "omit" });
  return response.ok ? response : null;
}

/** The card in the margin. It asks when somebody opens it. */
export const server = {
  async show() {
    if (!byId("server").open) return;
    const welcome = activeLane()?.welcome;
    const limits = Object.entries(welcome?.limits ?? {});
    const facts = await this.facts();
    if (welcome) {
      facts.push(["Room policies", welcome.limits?.page_entries === undefined ? "none: rooms keep nothing" : "yes: see --config"]);
      facts.push(["Heartbeat", welcome.heartbeat_ms > 0 ? `${welcome.heartbeat_ms} ms` : "off"]);
    }
    facts.push(...limits.map(([name, value]) => [name, Number(value).toLocaleString("en")]));
    byId("server-facts").replaceChildren(...facts.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]));
  },

  async facts() {
    try {
      const about = await (await ask("server"))?.json();
      if (!about) return [["Server", "does not say"]];
      return [
        ["Version", about.version],
        ["Host", HOSTS[about.host] ?? about.host],
        ["Threads", String(about.threads)],
        ["Store", STORES[about.store] ?? about.store],
        ...(about.metrics ? await this.metrics() : [["Metrics", "none"]]),
      ];
    } catch {
      return [["Server", "does not answer"]];
    }
  },

  async metrics() {
    const response = await ask("metrics");
    if (!response) return [["Metrics", "none"]];
    const text = await response.text();
    const commits = metric(text, "roomcast_store_commit_seconds_count");
    return [
      ["Runs for", duration(Date.now() / 1000 - metric(text, "process_start_time_seconds"))],
      ["Connections", `${metric(text, "roomcast_connections")} of ${metric(text, "roomcast_connections_max")}`],
      ["Histories", `${metric(text, "roomcast_history_bytes").toLocaleString("en")} bytes in memory`],
      ...(commits > 0 ? [["Commits", commits.toLocaleString("en")]] : []),
    ];
  },
};
