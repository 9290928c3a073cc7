// The page: follows the server's figures, and shows them. Everything that comes from elsewhere is text, never markup.
import { age, between, bytes, count, everything, share, time } from "./figures.js";
import { about } from "./about.js";
import { byId, make, headers } from "./document.js";

const KEPT = 90, RECENT_S = 10;
const history = []; // {at, figures}, oldest first
const points = []; // what the charts show

const CHARTS = [
  { title: "Requests a second", keys: ["requests", "errors"], values: p => [p.rate, p.errorRate], show: count },
  { title: "Latency", keys: ["p50", "p99"], values: p => [p.p50, p.p99], show: time },
  { title: "Rows of a batch", keys: ["mean"], values: p => [p.batchRows], show: count },
  { title: "CPU of all processes", keys: ["cores"], values: p => [p.cores], show: count },
];

function told(state, good) {
  byId("state").textContent = state;
  byId("state").className = good ? "good" : "bad";
}

function since(seconds) {
  const now = history[history.length - 1];
  return history.find(each => now.at - each.at <= seconds + .5) || history[0];
}

function cpu(now, before) {
  const then = new Map(before.figures.processes.map(each => [each.pid, each.cpu_s]));
  const used = now.figures.processes.reduce((all, each) => all + (then.has(each.pid) ? each.cpu_s - then.get(each.pid) : 0), 0);
  return now.at > before.at ? used / (now.at - before.at) : 0;
}

function take(snapshot) {
  history.push(snapshot);
  history.splice(0, history.length - KEPT);
  const before = history[history.length - 2];
  if (before && snapshot.at > before.at) {
    const seconds = snapshot.at - before.at;
    const all = between(everything(snapshot.figures), everything(before.figures), seconds, snapshot.bounds_s);
    points.push({ ...all, errorRate: all.errors / seconds, cores: cpu(snapshot, before) });
    points.splice(0, points.length - KEPT);
  }
  show(snapshot);
}

function show(now) {
  const before = since(RECENT_S), seconds = Math.max(now.at - before.at, 1e-9), figures = now.figures;
  const all = between(everything(figures), everything(before.figures), seconds, now.bounds_s);
  const part = value => share(all.requests ? value / all.requests : null);
  byId("build").textContent = `${now.build.version} · ONNX Runtime ${now.build.onnxruntime} · Python ${now.build.python}`;
  const memory = figures.processes.reduce((total, each) => total + each.resident_bytes, 0);
  tiles([
    ["Requests/s", count(all.rate)], ["p50", time(all.p50)], ["p99", time(all.p99)],
    ["Errors", part(all.errors), all.errors > 0, "Requests that got no answer, for whatever reason"],
    ["Our faults", part(all.faults), all.faults > 0, "Requests that got no answer because a model or the server failed"],
    ["Rows/batch", count(all.batchRows)], ["Waiting", count(all.waiting), false, "Rows in the queues at this moment"],
    ["From cache", share(all.saved), false, "Answered without a run: from the cache, or by the run of an equal request"],
    ["Cache", bytes(all.cacheBytes)], ["Memory", bytes(memory)],
  ]);
  charts();
  models(now, before, seconds);
  endings(figures, now.statuses);
  rows("processes", figures.processes.map(each => [
    [String(each.pid)], [age(now.at - each.started_at), "n"], [age(each.cpu_s), "n"], [bytes(each.resident_bytes), "n"],
  ]));
  events(figures.events, figures.processes.length > 1);
}

function tiles(list) {
  byId("tiles").replaceChildren(...list.map(([name, value, bad, title]) =>
    make("div", { title: title || "" }, make("dt", {}, name), make("dd", { class: bad ? "bad" : "" }, value))));
}

function rows(id, list) {
  const cells = list.map(row => make("tr", {}, ...row.map(([text, kind]) => make("td", { class: kind || "" }, text))));
  byId(id).tBodies[0].replaceChildren(...cells);
}

function line(values, top) {
  let path = "", drawn = false;
  values.forEach((value, place) => {
    if (value === null) { drawn = false; return; }
    const x = 300 * (place + KEPT - values.length) / (KEPT - 1), y = 98 - 94 * value / top;
    path += `${drawn ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`;
    drawn = true;
  });
  return path;
}

function charts() {
  byId("charts").replaceChildren(...CHARTS.map(chart => {
    const series = chart.keys.map((_, which) => points.map(point => chart.values(point)[which]));
    const top = Math.max(1e-9, ...series.flat().filter(value => value !== null));
    const last = points.length ? chart.values(points[points.length - 1]) : chart.keys.map(() => null);
    const names = chart.keys.map((key, which) => `${key} ${last[which] === null ? "–" : chart.show(last[which])}`);
    const svg = make("svg", { viewBox: "0 0 300 100", preserveAspectRatio: "none", role: "img", "aria-label": `${chart.title}: ${names.join(", ")}` },
      make("line", { x1: 0, x2: 300, y1: 98, y2: 98 }), make("line", { x1: 0, x2: 300, y1: 4, y2: 4 }),
      ...series.map((values, which) => make("path", { class: which ? "second" : "first", d: line(values, top) })));
    const head = make("figcaption", {}, make("strong", {}, chart.title), make("span", {}, top > 1e-9 ? `top ${chart.show(top)}` : ""));
    const axis = make("figcaption", { class: "axis", "aria-hidden": "true" }, make("span", {}, "3 min ago"), make("span", {}, "now"));
    return make("figure", {}, head, svg, axis, make("figcaption", {}, ...names.map(name => make("span", { class: "key" }, name))));
  }));
}

const kept = new Map(); // name of a version → its row, which stays: a button that is replaced loses a click or the focus

function rowOf(version) {
  const name = `${version.model}/${version.version}`;
  if (kept.has(name)) return kept.get(name);
  const button = make("button", { class: "plain", "data-version": name, "aria-label": `Details of ${name}` }, "Details");
  button.addEventListener("click", () => about(version.model, version.version));
  const cells = Array.from({ length: 9 }, () => make("td"));
  const row = make("tr", {}, make("td", {}, make("strong", {}, name)), ...cells, make("td", {}, button));
  const reason = make("td", { class: "bad text", colspan: 11 });
  const made = { row, cells, button, reason, below: make("tr", {}, reason) };
  kept.set(name, made);
  return made;
}

function models(now, before, seconds) {
  const there = now.figures.versions.filter(version => Object.keys(version.states).length);
  byId("nothing").hidden = there.length > 0;
  const list = there.flatMap(version => {
    const its = between([version], before.figures.versions, seconds, now.bounds_s), { row, cells, button, reason, below } = rowOf(version);
    const states = Object.entries(version.states).map(([state, processes]) => now.figures.processes.length > 1 ? `${state} × ${processes}` : state);
    button.disabled = !version.states.ready;
    const told = [
      [states.join(", "), version.states.failed ? "bad" : version.states.ready ? "good" : ""],
      [count(its.rate), "n"], [time(its.p50), "n"], [time(its.p99), "n"], [count(its.batchRows), "n"], [count(its.waiting), "n"],
      [share(its.saved), "n"], [share(its.requests ? its.errors / its.requests : null), its.errors ? "n bad" : "n"],
      [version.memory_bytes ? bytes(version.memory_bytes) : "–", "n"],
    ];
    told.forEach(([text, kind], place) => { cells[place].textContent = text; cells[place].className = kind; });
    reason.textContent = version.reason;
    row.className = version.reason ? "told" : "";
    return version.reason ? [row, below] : [row];
  });
  const body = byId("models").tBodies[0];
  if (list.length !== body.rows.length || list.some((row, place) => row !== body.rows[place])) body.replaceChildren(...list);
}

function endings(figures, statuses) {
  const found = new Map();
  for (const outcome of [...figures.rejections, ...figures.versions.flatMap(version => version.outcomes)]) {
    const key = `${outcome.protocol}\n${outcome.error ? statuses[outcome.error] || outcome.error : "OK"}\n${outcome.error}`;
    found.set(key, (found.get(key) || 0) + outcome.requests);
  }
  const list = [...found].filter(([, total]) => total).sort(([, one], [, two]) => two - one).map(([key, total]) => {
    const [protocol, status, error] = key.split("\n");
    return [[protocol], [status, error ? "bad" : "good"], [error === status ? "" : error, "soft"], [String(total), "n"]];
  });
  rows("endings", list.length ? list : [[["No request has come yet.", "soft"]]]);
}

function clock(at) {
  const then = new Date(at * 1000), today = then.toDateString() === new Date().toDateString();
  return `${today ? "" : then.toLocaleDateString() + " "}${then.toLocaleTimeString([], { hour12: false })}`;
}

let latest = "";
function events(list, several) {
  const key = JSON.stringify([list, several]);
  if (key === latest) return; // leave it where somebody scrolled
  latest = key;
  byId("events").replaceChildren(...[...list].reverse().map(event => make("li", { class: event.level === "info" ? "" : "bad" },
    make("time", { datetime: new Date(event.at * 1000).toISOString() }, clock(event.at)),
    make("span", { class: "soft" }, several ? `${event.pid} ` : ""), event.text)));
}

async function follow() {
  const answer = await fetch("/live/events", { headers: headers() });
  byId("login").hidden = ![401, 403].includes(answer.status);
  if (!answer.ok) throw new Error((await answer.json()).error);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) throw new Error("the server has closed the connection");
    text += value;
    const parts = text.split("\n\n");
    text = parts.pop();
    for (const part of parts) {
      if (!part.startsWith("data: ")) continue;
      const snapshot = JSON.parse(part.slice(6));
      take(snapshot);
      told(snapshot.ready ? "ready" : "not ready", snapshot.ready);
      document.body.classList.remove("stale");
    }
  }
}

byId("login").addEventListener("submit", event => { event.preventDefault(); again(); });
let waiting;
async function again() {
  clearTimeout(waiting);
  try { await follow(); } catch (error) {
    document.body.classList.toggle("stale", history.length > 0);
    const last = history.length ? `; what you see is of ${clock(history[history.length - 1].at)}` : "";
    const why = error instanceof TypeError ? "the server does not answer" : error.message;
    const asks = !byId("login").hidden;
    told(asks ? why : `${why}${last}; trying again`, false);
    if (!asks) waiting = setTimeout(again, 2000);
  }
}
again();
