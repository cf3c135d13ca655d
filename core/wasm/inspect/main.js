// The inspector: opens a journal, and steps through it.

import { $, count } from "./dom.js";
import { Journal } from "./journal.js";
import { List } from "./list.js";
import { Panels } from "./panels.js";
import { askedAbout, matcher } from "./row.js";
import { initSync } from "./stepper.js";

// The module, compressed, behind a mark: the build writes it here.
const MODULE = "roomcast-stepper:";
const MARK_LETTERS = 17;

const inflate = (blob) => new Response(blob.stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();

async function compile() {
  const bytes = Uint8Array.from(atob(MODULE.slice(MARK_LETTERS)), (letter) => letter.charCodeAt(0));
  initSync({ module: await WebAssembly.compile(await inflate(new Blob([bytes]))) });
  await Journal.warmUp();
  // The first number that is written as people do takes long, too.
  count(1_000, "line");
}
const compiled = compile();

let journal;
// The line to show when it is read, and since when that is wanted.
let wanted;
// Counts what is asked: work for an earlier question ends.
const asked = { skip: 0, filter: 0 };
const panels = new Panels(filter, go);
const list = new List($("list"), go);

const took = (since) => `in ${(performance.now() - since).toFixed(1)} ms`;
const status = (text) => ($("status").textContent = text);
const say = (what, since) => status(`${what} ${took(since)}`);

// Shows a fault, or takes the last one away.
function problem(text = "") {
  $("problem").textContent = text;
  $("problem").hidden = text === "";
}

async function bytesOf(files) {
  const sorted = [...files].sort((one, other) => (one.name < other.name ? -1 : 1));
  const parts = await Promise.all(sorted.map(async (file) => {
    const bytes = new Uint8Array(await file.arrayBuffer());
    return bytes[0] === 0x1f && bytes[1] === 0x8b ? new Uint8Array(await inflate(file)) : bytes;
  }));
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

async function open(files) {
  if (files.length === 0) return;
  try {
    await compiled;
    const bytes = await bytesOf(files);
    const since = performance.now();
    const opened = new Journal(bytes);
    journal?.close();
    journal = opened;
    asked.filter += 1;
    wanted = undefined;
    problem(journal.cutOff ? "The last line is cut off: it is left out." : "");
    const { length } = journal.rows;
    $("file").textContent = `${[...files].map((file) => file.name).join(", ")}: ${count(length, "line")}`;
    $("number").max = $("slider").max = length;
    $("start-page").hidden = true;
    $("journal").hidden = false;
    $("filter").value = "";
    list.current = 1;
    list.begin = journal.rows[0].fields.at;
    list.fill(journal.rows);
    go(1);
    $("list").focus();
    const shown = `opened ${took(since)}`;
    status(shown);
    await readAll(opened, shown, since);
  } catch (fault) {
    problem(`This cannot be opened. ${fault?.message ?? fault}`);
  }
}

// Reads on while the page is used.
async function readAll(opened, shown, since) {
  const isShown = () => journal === opened && ($("status").textContent.startsWith(shown) || wanted);
  let from = opened.read;
  const after = () => {
    list.changed(from, opened.read);
    from = opened.read + 1;
    if (wanted && wanted.line <= opened.read) go(wanted.line, wanted.since);
    else if (isShown()) status(`${shown}, read to line ${opened.read}`);
  };
  try {
    await opened.readAll(after);
    if (isShown()) status(`${shown}, all read ${took(since)}`);
  } catch (fault) {
    const { length } = opened.rows;
    problem(`${fault?.message ?? fault}. The lines before it are here.`);
    $("number").max = $("slider").max = length;
    filter($("filter").value);
    go(Math.min(list.current, length));
  }
}

// Shows the step of a line, as soon as it is read.
function go(line, since = performance.now()) {
  const row = journal.rows[line - 1];
  if (!row) return;
  asked.skip += 1;
  wanted = undefined;
  if (line > journal.read) {
    wanted = { line, since };
    return status(`line ${line} is read soon`);
  }
  const { outputs, state } = journal.step(line);
  panels.input(row);
  panels.frames(outputs);
  panels.state(state);
  $("number").value = $("slider").value = line;
  $("slider").setAttribute("aria-valuetext", `line ${line} of ${journal.rows.length}`);
  $("back").disabled = list.rows.length === 0 || line <= list.rows[0].number;
  $("forward").disabled = list.rows.length === 0 || line >= list.rows.at(-1).number;
  list.reveal(line);
  say(`line ${line}`, since);
}

// Begins a question that the next one ends, and says how far its answer is.
function ask(what) {
  const own = (asked[what] += 1);
  const isWanted = () => own === asked[what];
  const after = (line) => isWanted() && status(`line ${line} of ${journal.rows.length}`);
  return [isWanted, after];
}

async function skip() {
  if ($("skip").disabled) return;
  const [line, since] = [list.current, performance.now()];
  try {
    const differences = await journal.skip(line, ...ask("skip"));
    if (!differences) return;
    panels.skipped(differences, journal.rows[line - 1]);
    $("skipped-title").focus();
    say("compared", since);
  } catch (fault) {
    problem(fault?.message ?? fault);
  }
}

async function filter(text) {
  $("filter").value = text;
  const since = performance.now();
  const [isWanted, after] = ask("filter");
  const missed = new Map();
  try {
    for (const conn of askedAbout(text)) {
      const lines = await journal.missed(conn, isWanted, after);
      if (!lines) return;
      missed.set(conn, lines);
    }
  } catch (fault) {
    return status(fault?.message ?? fault);
  }
  list.show(journal.rows.filter(matcher(text, missed)));
  say(count(list.rows.length, "line"), since);
}

function pressed(event) {
  const typing = event.target.matches("input");
  if (event.ctrlKey || event.metaKey || event.altKey || $("journal").hidden || typing) return;
  const page = Math.max(1, Math.floor($("list").clientHeight / 28) - 1);
  const inList = event.target === $("list") || event.target === document.body;
  const steps = { ArrowLeft: -1, ArrowRight: 1, "[": -1, "]": 1 };
  if (inList) Object.assign(steps, { ArrowUp: -1, ArrowDown: 1, PageUp: -page, PageDown: page, Home: -journal.rows.length, End: journal.rows.length });
  if (steps[event.key] !== undefined) go(list.beside(steps[event.key]));
  else if (event.key === "s") skip();
  else if (event.key === "/") $("filter").focus();
  else return;
  event.preventDefault();
}

$("open").addEventListener("click", () => $("picker").click());
$("open-first").addEventListener("click", () => $("picker").click());
$("picker").addEventListener("change", () => open([...$("picker").files]).then(() => ($("picker").value = "")));
$("back").addEventListener("click", () => go(list.beside(-1)));
$("forward").addEventListener("click", () => go(list.beside(1)));
$("skip").addEventListener("click", skip);
$("number").addEventListener("change", () => go(Math.max(1, Math.min(journal.rows.length, Math.trunc($("number").valueAsNumber) || 1))));
$("slider").addEventListener("input", () => go($("slider").valueAsNumber));
$("filter").addEventListener("input", () => filter($("filter").value));
document.addEventListener("keydown", pressed);
document.addEventListener("dragover", (event) => { event.preventDefault(); document.body.classList.add("over"); });
document.addEventListener("dragleave", () => document.body.classList.remove("over"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("over");
  open([...event.dataTransfer.files]);
});
$("theme").addEventListener("click", () => {
  const { dataset } = document.documentElement;
  const dark = dataset.theme ? dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  dataset.theme = dark ? "light" : "dark";
});
