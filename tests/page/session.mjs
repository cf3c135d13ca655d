// Saves a session of the try-out page of a running server as a trace:
//
//     node session.mjs http://127.0.0.1:3000 FILE
//
// In all rooms but `loose` the server keeps a history and lists the members. Nobody else is connected.

import assert from "node:assert/strict";
import process from "node:process";
import { launch, openPage, pane } from "./browser.mjs";

const [url, file] = process.argv.slice(2);

/** Publishes, and waits until the other has it. */
async function said(from, to, event, data, options) {
  await from.publish(event, data, options);
  await to.row(`[data-kind="push"][data-event="${event}"]`).waitFor();
}

const browser = await launch();
try {
  const { page, faults } = await openPage(browser, url);
  await page.goto(url);
  const [a, b] = [pane(page, "a"), pane(page, "b")];
  for (const lane of [a, b]) {
    await lane.connected();
    await lane.isIn("lobby");
    await lane.root.getByRole("img", { name: /here: Client A/ }).waitFor();
  }
  await a.root.getByRole("img", { name: "here: Client A, Client B" }).waitFor();
  await said(a, b, "hello", '{"text": "a < b, \\"c\\""}');
  await said(b, a, "answer", "1", { room: "lobby", echo: true });
  // A line that is cut, and what was missed.
  await b.part("cut").click();
  await b.part("state").getByText("No line").waitFor();
  for (const event of ["missed", "more"]) {
    await a.publish(event, "2", { room: "lobby" });
    await a.row(`[data-dir="in"][data-event="${event}"]`).waitFor();
  }
  await b.part("cut").click();
  await b.part("recovery").getByText("Back in lobby: 2 missed, 2 recovered.").waitFor();
  await b.settle();
  await a.settle();
  // A backend, a refusal, and what is no envelope.
  const sent = { audience: { rooms: ["lobby"] }, event: "pushed", data: [true] };
  await page.request.post(`${url}/api/v1/default/send`, { data: sent });
  for (const lane of [a, b]) await lane.row('[data-kind="push"][data-event="pushed"]').waitFor();
  await a.sendRaw("oops");
  await a.row('[data-kind="error"]').first().waitFor();
  await a.sendRaw('{"event":"nothing","id":"x"}');
  await a.row('[data-kind="error"][data-code="unknown_event"]').waitFor();
  await b.leave("lobby");
  await a.root.getByRole("img", { name: "here: Client A", exact: true }).waitFor();
  await b.part("connect").click();
  await b.part("state").getByText("Disconnected").waitFor();
  const [download] = await Promise.all([page.waitForEvent("download"), page.getByTestId("save").click()]);
  assert.equal(download.suggestedFilename(), "session.trace");
  await page.getByTestId("saved").getByText("Saved. It replays if its rooms were new.").waitFor();
  await download.saveAs(file);
  // Another page comes to a room that was in use.
  const other = await openPage(browser, url);
  await other.page.goto(url);
  const late = pane(other.page, "a");
  await late.connected();
  await late.isIn("lobby");
  await other.page.getByTestId("save").click();
  await other.page.getByTestId("saved").getByText("It does not replay: there were messages before in lobby.").waitFor();
  faults.push(...other.faults);
  assert.deepEqual(faults, [], "the browser reported a fault");
  console.log("ok   a session is saved");
} catch (error) {
  console.error(`FAIL a session is saved\n${error.message}`);
  process.exitCode = 1;
} finally {
  await browser.close();
}
