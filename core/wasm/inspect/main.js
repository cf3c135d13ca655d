// The inspector: opens a journal, and steps through it.

import { $, count } from "./dom.js";
import { List } from "./list.js";
import { Panels } from "./panels.js";
import { Row, matcher } from "./row.js";
import { Stepper, initSync } from "./stepper.js";

// The module, compressed, behind a mark: the build writes it here.
const MODULE = "roomcast-stepper:";
const MARK_LETTERS = 17;

const inflate = (blob) => new Response(blob.stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();

async function compile() {
  const bytes = Uint8Array.from(atob(MODULE.slice(MARK_LETTERS)), (letter) => letter.charCodeAt(0));
  initSync({ module: await WebAssembly.compile(await inflate(new Blob([bytes]))) });
}
const compiled = compile();

let stepper;
let rows = [];
const panels = new Panels(filter, go);
const list = new List($("list"), go);

function say(what, since) {
  $("status").textContent = `${what} in ${(performance.now() - since).toFixed(1)} ms`;
}

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
    const opened = new Stepper(bytes);
    const { lines, cut_off: cutOff, deliveries } = JSON.parse(opened.summary());
    const texts = new TextDecoder().decode(bytes).split("\n");
    stepper?.free();
    stepper = opened;
    rows = deliveries.map((reached, index) => new Row(index + 1, texts[index], reached));
    problem(cutOff ? "The last line is cut off: it is left out." : "");
    $("file").textContent = `${[...files].map((file) => file.name).join(", ")}: ${count(lines, "line")}`;
    $("number").max = $("slider").max = lines;
    $("start-page").hidden = true;
    $("journal").hidden = false;
    $("filter").value = "";
    list.current = 1;
    list.begin = rows[0]?.fields.at ?? 0;
    list.show(rows);
    go(1);
    $("list").focus();
    say("opened", since);
  } catch (fault) {
    problem(`This cannot be opened. ${fault?.message ?? fault}`);
  }
}

// Shows the step of a line.
function go(line) {
  const row = rows[line - 1];
  if (!row) return;
  const since = performance.now();
  const outputs = JSON.parse(stepper.step(line));
  const state = JSON.parse(stepper.state(line));
  panels.input(row);
  panels.frames(outputs);
  panels.state(state);
  $("number").value = $("slider").value = line;
  $("slider").setAttribute("aria-valuetext", `line ${line} of ${rows.length}`);
  $("back").disabled = list.rows.length === 0 || line <= list.rows[0].number;
  $("forward").disabled = list.rows.length === 0 || line >= list.rows.at(-1).number;
  list.reveal(line);
  say(`line ${line}`, since);
}

function skip() {
  if ($("skip").disabled) return;
  const since = performance.now();
  panels.skipped(JSON.parse(stepper.skip(list.current)), rows[list.current - 1]);
  $("skipped-title").focus();
  say("compared", since);
}

function filter(text) {
  $("filter").value = text;
  const since = performance.now();
  const fits = matcher(text);
  list.show(rows.filter(fits));
  say(count(list.rows.length, "line"), since);
}

function pressed(event) {
  const typing = event.target.matches("input");
  if (event.ctrlKey || event.metaKey || event.altKey || $("journal").hidden || typing) return;
  const page = Math.max(1, Math.floor($("list").clientHeight / 28) - 1);
  const inList = event.target === $("list") || event.target === document.body;
  const steps = { ArrowLeft: -1, ArrowRight: 1, "[": -1, "]": 1 };
  if (inList) Object.assign(steps, { ArrowUp: -1, ArrowDown: 1, PageUp: -page, PageDown: page, Home: -rows.length, End: rows.length });
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
$("number").addEventListener("change", () => go(Math.max(1, Math.min(rows.length, Math.trunc($("number").valueAsNumber) || 1))));
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
