/**
 * Tests of applications without a server, without sockets and without waiting.
 *
 * @module
 */
export { seeded, TestClock } from "./clock.js";
export { TestPage } from "./page.js";
export { TestServer, type TestServerOptions } from "./server.js";
export { TestSocket } from "./socket.js";
