// The inspector: opens a journal, and steps through it.

import { $, count } from "./dom.js";
import { Filter } from "./filter.js";
import { Journal } from "./journal.js";
import { List } from "./list.js";
import { Panels } from "./panels.js";
import { Play } from "./play.js";
import { initSync } from "./stepper.js";

// The compressed module after a marker: the build inserts it here.
const MODULE = "roomcast-stepper:";
const MARK_LETTERS = 17;

const inflate = (blob) => new Response(blob.stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();

async function compile() {
  const bytes = Uint8Array.from(atob(MODULE.slice(MARK_LETTERS)), (letter) => letter.charCodeAt(0));
  initSync({ module: await WebAssembly.compile(await inflate(new Blob([bytes]))) });
  await Journal.warmUp();
  // Formatting a number for the first time is slow, too.
  count(1_000, "line");
}
const compiled = compile();

let journal;
// The line to show once it is read, and the time at which it was requested.
let wanted;
// Counts queries: work for an earlier query of the same kind ends.
const asked = { skip: 0, filter: 0, check: 0 };
// The filter of the list, the last one that could be read.
let shown = new Filter();
const panels = new Panels(filter, go);
const list = new List($("list"), go);
const play = new Play(playOn, () => {
  $("play").setAttribute("aria-label", play.isOn ? "Pause" : "Play");
  $("play").dataset.on = play.isOn;
  // A screen reader must not announce each line.
  $("status").setAttribute("aria-live", play.isOn ? "off" : "polite");
});

const took = (since) => `in ${(performance.now() - since).toFixed(1)} ms`;
const status = (text) => ($("status").textContent = text);
const say = (what, since) => status(`${what} ${took(since)}`);

// Shows a fault, or removes the last one.
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
    asked.check += 1;
    wanted = undefined;
    play.stop();
    shown = new Filter();
    problem(journal.cutOff ? "The last line is cut off: it is left out." : "");
    const { length } = journal.rows;
    $("file").textContent = `${[...files].map((file) => file.name).join(", ")}: ${count(length, "line")}`;
    $("number").max = $("slider").max = length;
    $("start-page").hidden = true;
    $("journal").hidden = false;
    $("filter").value = "";
    $("filter").removeAttribute("aria-invalid");
    panels.checked({ count: 0, violations: [] }, "checked when all is read");
    verdict("Invariants", "");
    list.current = 1;
    list.begin = journal.rows[0].fields.at;
    list.fill(journal.rows);
    go(1);
    $("list").focus();
    const said = `opened ${took(since)}`;
    status(said);
    await readAll(opened, said, since);
    await check(opened);
  } catch (fault) {
    problem(`This cannot be opened. ${fault?.message ?? fault}`);
  }
}

// Continues to read while the page is used.
async function readAll(opened, said, since) {
  const isShown = () => journal === opened && ($("status").textContent.startsWith(said) || wanted);
  let from = opened.read;
  const after = () => {
    list.changed(from, opened.read);
    from = opened.read + 1;
    if (wanted && wanted.line <= opened.read) go(wanted.line, wanted.since);
    else if (isShown()) status(`${said}, read to line ${opened.read}`);
  };
  try {
    await opened.readAll(after);
    if (isShown()) status(`${said}, all read ${took(since)}`);
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
  const { outputs, replayed, state } = journal.step(line);
  panels.input(row);
  panels.frames(outputs);
  panels.state(state);
  $("number").value = $("slider").value = line;
  $("slider").setAttribute("aria-valuetext", `line ${line} of ${journal.rows.length}`);
  $("back").disabled = list.rows.length === 0 || line <= list.rows[0].number;
  $("forward").disabled = list.rows.length === 0 || line >= list.rows.at(-1).number;
  list.reveal(line);
  subjects();
  say(`line ${line}, ${count(replayed, "line")} replayed`, since);
}

// The room or the client that steps follow: that of the line, or else that of the filter.
function subject(of) {
  const { rooms, conn } = journal.rows[list.current - 1].fields;
  if (of === "room") return rooms[0] ?? shown.value("room");
  return conn || shown.value("conn") || shown.value("from");
}

// The next line of the list about a room or a client, or with `by` -1 the previous one.
function beside(of, by, about = subject(of)) {
  if (about === undefined) return undefined;
  return list.next(by, of === "room" ? ({ fields }) => fields.rooms.includes(about) : ({ fields }) => fields.conn === about);
}

function subjects() {
  for (const of of ["room", "client"]) {
    const about = subject(of);
    $(of).textContent = $(of).title = about ?? of;
    $(of).classList.toggle("dim", about === undefined);
    for (const [by, name, which] of [[-1, "back", "Previous"], [1, "forward", "Next"]]) {
      const button = $(`${of}-${name}`);
      button.disabled = about === undefined;
      button.setAttribute("aria-label", `${which} input ${of === "room" ? "in room" : "of client"} ${about ?? ""}`.trim());
      button.dataset.by = by;
    }
  }
}

function stepBeside(of, by) {
  const about = subject(of);
  const line = beside(of, by, about);
  if (line) return go(line);
  const [whose, where] = [of === "room" ? "in room" : "of client", by > 0 ? "behind" : "before"];
  status(about === undefined ? `neither the line nor the filter names a ${of}` : `no input ${whose} ${about} ${where} this line`);
}

// Moves on by this number of lines; false at the end.
function playOn(lines) {
  if (wanted) return true;
  const line = list.beside(lines);
  if (line === list.current) return false;
  go(line);
  return list.beside(1) !== list.current;
}

function togglePlay() {
  if (!play.isOn && list.beside(1) === list.current) go(list.rows[0]?.number ?? 1);
  play.toggle(() => Number($("rate").value));
}

function changeRate(by) {
  const { options, selectedIndex } = $("rate");
  $("rate").selectedIndex = Math.max(0, Math.min(options.length - 1, selectedIndex + by));
}

// Sets the text of the button for the invariants.
function verdict(text, is) {
  $("verdict").textContent = text;
  $("verdict").dataset.is = is;
}

async function check(opened) {
  if (journal !== opened) return;
  const since = performance.now();
  const [isWanted] = ask("check");
  const after = (line) => isWanted() && verdict(`Invariants: line ${line}`, "");
  const found = await opened.check(isWanted, after);
  if (!found) return;
  panels.checked(found, `${count(opened.rows.length, "line")} checked ${took(since)}`);
  verdict(found.count > 0 ? count(found.count, "violation") : "Invariants hold", found.count > 0 ? "broken" : "held");
  if (found.count > 0) list.draw();
}

function stepToViolation(by) {
  const line = list.next(by, (row) => row.broken.length > 0);
  if (line) go(line);
  else status(`no violation ${by > 0 ? "behind" : "before"} this line`);
}

// Begins a query, which the next of its kind cancels, and reports its progress.
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
    say(`compared, ${count(differences.replayed, "line")} replayed`, since);
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
    const asking = new Filter(text);
    for (const conn of asking.missedBy) {
      const lines = await journal.missed(conn, isWanted, after);
      if (!lines) return;
      missed.set(conn, lines);
    }
    shown = asking;
  } catch (fault) {
    $("filter").setAttribute("aria-invalid", "true");
    return status(fault?.message ?? fault);
  }
  $("filter").removeAttribute("aria-invalid");
  list.show(journal.rows.filter(shown.matcher(missed)));
  subjects();
  say(count(list.rows.length, "line"), since);
}

const keys = {
  s: skip,
  "/": () => $("filter").focus(),
  p: togglePlay,
  " ": togglePlay,
  "+": () => changeRate(1),
  "-": () => changeRate(-1),
  r: () => stepBeside("room", 1),
  R: () => stepBeside("room", -1),
  c: () => stepBeside("client", 1),
  C: () => stepBeside("client", -1),
  v: () => stepToViolation(1),
  V: () => stepToViolation(-1),
};

function pressed(event) {
  const typing = event.target.matches("input, select");
  if (event.ctrlKey || event.metaKey || event.altKey || $("journal").hidden || typing) return;
  const page = Math.max(1, Math.floor($("list").clientHeight / 28) - 1);
  const inList = event.target === $("list") || event.target === document.body;
  const steps = { ArrowLeft: -1, ArrowRight: 1, "[": -1, "]": 1 };
  if (inList) Object.assign(steps, { ArrowUp: -1, ArrowDown: 1, PageUp: -page, PageDown: page, Home: -journal.rows.length, End: journal.rows.length });
  if (steps[event.key] !== undefined) go(list.beside(steps[event.key]));
  // A space on a button presses it.
  else if (keys[event.key] && (inList || event.key !== " ")) keys[event.key]();
  else return;
  event.preventDefault();
}

$("open").addEventListener("click", () => $("picker").click());
$("open-first").addEventListener("click", () => $("picker").click());
$("picker").addEventListener("change", () => open([...$("picker").files]).then(() => ($("picker").value = "")));
$("back").addEventListener("click", () => go(list.beside(-1)));
$("forward").addEventListener("click", () => go(list.beside(1)));
$("skip").addEventListener("click", skip);
$("play").addEventListener("click", togglePlay);
for (const of of ["room", "client"]) {
  $(`${of}-back`).addEventListener("click", () => stepBeside(of, -1));
  $(`${of}-forward`).addEventListener("click", () => stepBeside(of, 1));
}
$("verdict").addEventListener("click", () => $("invariants-title").focus());
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
