// The page: follows the server's figures, and shows them. Everything that comes from elsewhere is text, never markup.
import { age, between, bytes, count, requests, share, time } from "./figures.js";
import { about } from "./about.js";
import { byId, make, headers } from "./document.js";

const KEPT = 90, RECENT_S = 10;
const history = []; // {at, figures}, oldest first
const points = []; // what the charts show

const CHARTS = [
  { title: "Requests a second", keys: ["requests", "errors"], values: p => [p.rate, p.errorRate], show: count },
  { title: "From queue to answer", keys: ["p50", "p99"], values: p => [p.p50, p.p99], show: time },
  { title: "Rows of a batch", keys: ["mean"], values: p => [p.batchRows], show: count },
  { title: "CPU", keys: ["cores"], values: p => [p.cores], show: count },
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
    const all = between(snapshot.figures.versions, before.figures.versions, seconds, snapshot.bounds_s);
    points.push({ ...all, errorRate: all.errors / seconds, cores: cpu(snapshot, before) });
    points.splice(0, points.length - KEPT);
  }
  show(snapshot);
}

function show(now) {
  const before = since(RECENT_S), seconds = Math.max(now.at - before.at, 1e-9), figures = now.figures;
  const all = between(figures.versions, before.figures.versions, seconds, now.bounds_s);
  byId("build").textContent = `${now.build.version} · ONNX Runtime ${now.build.onnxruntime} · Python ${now.build.python}`;
  const memory = figures.processes.reduce((total, each) => total + each.resident_bytes, 0);
  tiles([
    ["Requests/s", count(all.rate)], ["p50", time(all.p50)], ["p99", time(all.p99)],
    ["Errors", share(all.requests ? all.errors / all.requests : null), all.errors > 0],
    ["Rows/batch", count(all.batchRows)], ["Waiting", count(all.waiting)],
    ["No run", share(all.saved)], ["Kept", bytes(all.cacheBytes)], ["Memory", bytes(memory)],
  ]);
  charts();
  models(now, before, seconds);
  endings(figures, now.statuses);
  rows("processes", figures.processes.map(each => [
    [String(each.pid)], [age(now.at - each.started_at), "n"], [age(each.cpu_s), "n"], [bytes(each.resident_bytes), "n"],
  ]));
  events(figures.events);
}

function tiles(list) {
  byId("tiles").replaceChildren(...list.map(([name, value, bad]) =>
    make("div", {}, make("dt", {}, name), make("dd", { class: bad ? "bad" : "" }, value))));
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
    return make("figure", {}, head, svg, make("figcaption", {}, ...names.map(name => make("span", { class: "key" }, name))));
  }));
}

function models(now, before, seconds) {
  const there = now.figures.versions.filter(version => Object.keys(version.states).length);
  byId("nothing").hidden = there.length > 0;
  const focused = document.activeElement?.dataset?.version;
  byId("models").tBodies[0].replaceChildren(...there.map(version => {
    const its = between([version], before.figures.versions, seconds, now.bounds_s), name = `${version.model}/${version.version}`;
    const states = Object.entries(version.states).map(([state, processes]) => now.figures.processes.length > 1 ? `${state} × ${processes}` : state);
    const button = make("button", { class: "plain", "data-version": name, "aria-label": `Details of ${name}` }, "Details");
    button.addEventListener("click", () => about(version.model, version.version));
    button.disabled = !version.states.ready;
    const cells = [
      [make("strong", {}, name)], [states.join(", "), version.states.failed ? "bad" : version.states.ready ? "good" : ""],
      [count(its.rate), "n"], [time(its.p50), "n"], [time(its.p99), "n"], [count(its.batchRows), "n"], [count(its.waiting), "n"],
      [share(its.saved), "n"], [share(its.requests ? its.errors / its.requests : null), its.errors ? "n bad" : "n"], [button],
    ];
    return make("tr", {}, ...cells.map(([content, kind]) => make("td", { class: kind || "" }, content)));
  }));
  if (focused) document.querySelector(`[data-version="${CSS.escape(focused)}"]`)?.focus();
}

function endings(figures, statuses) {
  const found = new Map();
  for (const outcome of [...figures.unserved, ...figures.versions.flatMap(version => version.outcomes)]) {
    const key = `${outcome.protocol}\n${outcome.error ? statuses[outcome.error] : "OK"}\n${outcome.error}`;
    found.set(key, (found.get(key) || 0) + outcome.requests);
  }
  const list = [...found].filter(([, total]) => total).sort(([, one], [, two]) => two - one).map(([key, total]) => {
    const [protocol, status, error] = key.split("\n");
    return [[protocol], [status, error ? "bad" : "good"], [error, "soft"], [String(total), "n"]];
  });
  rows("endings", list.length ? list : [[["No request has come yet.", "soft"]]]);
}

let latest = "";
function events(list) {
  const key = JSON.stringify(list);
  if (key === latest) return; // leave it where somebody scrolled
  latest = key;
  byId("events").replaceChildren(...[...list].reverse().map(event => make("li", { class: event.level === "info" ? "" : "bad" },
    make("time", { datetime: new Date(event.at * 1000).toISOString() }, new Date(event.at * 1000).toLocaleTimeString()), event.text)));
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
    }
  }
}

byId("login").addEventListener("submit", event => { event.preventDefault(); again(); });
let waiting;
async function again() {
  clearTimeout(waiting);
  try { await follow(); } catch (error) {
    told(error.message, false);
    if (byId("login").hidden) waiting = setTimeout(again, 2000);
  }
}
again();
