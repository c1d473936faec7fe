// Both dashboards as tabs, asked again and again.
import { LIVE, Live } from "./live.js";
import { Card, total } from "./panels.js";
import { land } from "./world.js";

const RANGES = { "15m": "15 minutes", "1h": "hour", "24h": "24 hours" };
const $ = (id) => document.getElementById(id);

let boards = [];
let board;
let cards = [];
/** Those of them that have live numbers. */
let lives = [];
let range = "15m";
let timer;
/** Answers to what was asked before a tab or range changed are not drawn. */
let asked = 0;

async function json(path) {
  const response = await fetch(path, { headers: { accept: "application/json" } });
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(body.error || `the server answered ${response.status}`);
  return body;
}

function notice(failed, ...parts) {
  const box = $("notice");
  box.hidden = parts.length === 0;
  box.className = failed ? "failed" : "";
  const text = parts.map((part) => part.textContent ?? part).join("");
  if (box.textContent !== text) box.replaceChildren(...parts);
}

function code(text) {
  const element = document.createElement("code");
  element.textContent = text;
  return element;
}

function say(state, text) {
  $("status").className = state;
  const span = $("status").querySelector("span");
  if (span.textContent !== text) span.textContent = text;
}

const clock = () => new Date().toLocaleTimeString("en-GB");
let lastAnswer = "";

async function refresh() {
  clearTimeout(timer);
  const round = ++asked;
  const isLive = (card) => lives.some((live) => live.on && live.card === card);
  const results = await Promise.allSettled(cards.filter((card) => !isLive(card)).map(async (card) => {
    const data = await json(`/dashboard/data/${card.panel.id}?range=${range}`);
    if (round === asked && !isLive(card)) card.update(data);
    return total(data);
  }));
  if (round !== asked) return;
  const failure = results.find(({ status }) => status === "rejected");
  if (failure) {
    const why = failure.reason instanceof TypeError ? "the server does not answer" : failure.reason.message;
    say("failed", lastAnswer ? `last at ${lastAnswer}` : "no answer");
    notice(true, `No new numbers: ${why}. Is the stack up? `, code("./freshet up"));
  } else {
    lastAnswer = clock();
    say("live", `live · ${lastAnswer}`);
    if (results.every(({ value }) => value === 0)) {
      notice(false, `No events in the last ${RANGES[range]}. Send some: `, code("./freshet send --rate 50"), " or click around in the shop.");
    } else notice(false);
  }
  $("grid").classList.toggle("stale", Boolean(failure));
  document.body.dataset.round = round;
  if (!document.hidden) timer = setTimeout(refresh, board.refresh_ms || 5000);
}

function show(id) {
  board = boards.find((one) => one.id === id) ?? boards[0];
  for (const tab of $("tabs").children) {
    const selected = tab.id === `tab-${board.id}`;
    tab.setAttribute("aria-selected", selected);
    tab.tabIndex = selected ? 0 : -1;
  }
  $("board").setAttribute("aria-labelledby", `tab-${board.id}`);
  $("title").textContent = board.title;
  $("description").textContent = board.description;
  document.title = `${board.title} – Freshet`;
  lives.forEach((live) => live.close());
  cards.forEach((card) => card.close());
  cards = board.panels.map((panel) => new Card(panel));
  lives = cards.filter((card) => card.panel.id in LIVE).map((card) => new Live(card, refresh));
  $("grid").replaceChildren(...cards.map((card) => card.root));
  refresh();
}

function tab({ id, title }) {
  const button = document.createElement("button");
  button.id = `tab-${id}`;
  button.type = "button";
  button.textContent = title;
  button.setAttribute("role", "tab");
  button.setAttribute("aria-controls", "board");
  button.addEventListener("click", () => { location.hash = id; });
  return button;
}

function listen() {
  addEventListener("hashchange", () => show(location.hash.slice(1)));
  $("tabs").addEventListener("keydown", ({ key }) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[key];
    if (!step) return;
    const next = boards[(boards.indexOf(board) + step + boards.length) % boards.length];
    location.hash = next.id;
    $(`tab-${next.id}`).focus();
  });
  $("ranges").addEventListener("change", ({ target }) => { range = target.value; refresh(); });
  document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
  let settled;
  addEventListener("resize", () => { clearTimeout(settled); settled = setTimeout(() => cards.forEach((card) => card.refit()), 100); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => cards.forEach((card) => card.refit()));
}

async function start() {
  try {
    const [layout, world] = await Promise.all([json("/dashboard/panels.json"), json("/dashboard/world.json")]);
    echarts.registerMap("world", land(world));
    boards = layout.dashboards;
    $("tabs").replaceChildren(...boards.map(tab));
    range = document.querySelector("#ranges input:checked").value;
    listen();
    show(location.hash.slice(1));
  } catch (error) {
    say("failed", "no answer");
    notice(true, `The page cannot start: ${error.message}.`);
    setTimeout(() => location.reload(), 5000);
  }
}

start();
