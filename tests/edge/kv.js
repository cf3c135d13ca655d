// A KV namespace in memory, as the platform asks one: by an HTTP request for each operation.

const values = new Map();

export default {
  async fetch(request) {
    const { pathname: key } = new URL(request.url);
    switch (request.method) {
      case "PUT":
        values.set(key, await request.arrayBuffer());
        return new Response();
      case "GET":
        return values.has(key) ? new Response(values.get(key)) : new Response("no such key", { status: 404 });
      default:
        return new Response("no such operation", { status: 405 });
    }
  },
};
