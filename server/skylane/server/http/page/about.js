// One version: where it comes from, what was tried, and a form to try it.
import { bytes, share } from "./figures.js";
import { byId, headers, make } from "./document.js";

export async function about(model, version) {
  const place = byId("about"), answer = await fetch(`/live/models/${encodeURIComponent(model)}/${version}`, { headers: headers() });
  const told = await answer.json();
  const close = make("button", { class: "plain" }, "Close");
  close.addEventListener("click", () => {
    place.hidden = true;
    document.querySelector(`[data-version="${CSS.escape(`${model}/${version}`)}"]`)?.focus();
  });
  const head = make("header", {}, make("h2", {}, `${model}/${version}`), close);
  const content = answer.ok
    ? [provenance(told), candidates(told.candidates || []), trial(model, version, told)]
    : [make("p", { class: "bad" }, told.error)];
  place.replaceChildren(head, ...content);
  place.hidden = false;
  place.scrollIntoView({ block: "nearest" });
  place.focus();
}

function provenance(manifest) {
  const from = manifest.lineage, tolerance = manifest.tolerance;
  const libraries = Object.entries(from.libraries || {}).map(([name, version]) => `${name} ${version}`).join(", ");
  const measures = Object.entries(from.metrics || {}).map(([name, value]) => `${name} ${Number(value.toPrecision(4))}`).join(", ");
  const lines = [
    ["Made", from.created_at && new Date(from.created_at).toLocaleString()],
    ["Quality, as reported by its author", measures],
    ["May differ from the original by", tolerance && `${tolerance.max_difference} and in ${share(tolerance.max_label_flips)} of labels (${tolerance.preset})${tolerance.forced ? ", and was published although it differs more" : ""}`],
    ["Training data", from.data_sha256 && `sha256 ${from.data_sha256.slice(0, 16)}…`],
    ["Pipeline", from.pipeline_sha256 && `sha256 ${from.pipeline_sha256.slice(0, 16)}…`],
    ["Code", from.code_revision], ["Libraries", libraries], ["Candidates timed on", from.machine], ["Opened", from.loaded], ["Content", manifest.identity && `sha256 ${manifest.identity.slice(0, 16)}…`],
  ].filter(([, value]) => value);
  const table = make("table", {}, make("tbody", {}, ...lines.map(([name, value]) => make("tr", {}, make("th", { scope: "row" }, name), make("td", { class: "text" }, value)))));
  return make("div", {}, table, make("details", {}, make("summary", {}, "Estimator"), make("pre", { class: "estimator" }, from.estimator || "not told")));
}

function candidates(list) {
  if (!list.length) return make("p", { class: "soft" }, "The manifest tells of no candidates.");
  const row = each => make("tr", {},
    make("td", {}, make(each.chosen ? "strong" : "span", {}, each.name + (each.chosen ? " (published)" : ""))),
    make("td", { class: "n" }, bytes(each.bytes)), make("td", { class: "n" }, `${each.latency_us?.["1"] ?? "–"} µs`),
    make("td", { class: "n" }, each.worst_difference?.toPrecision(2) ?? "–"), make("td", { class: "n" }, share(each.label_flips ?? null)),
    make("td", { class: "text" }, each.outside || each.note || ""));
  const names = [["Candidate"], ["Size", "n"], ["One row", "n"], ["Worst difference", "n"], ["Other labels", "n"], ["Note"]];
  const head = make("thead", {}, make("tr", {}, ...names.map(([name, kind]) => make("th", { class: kind || "" }, name))));
  const table = make("table", {}, head, make("tbody", {}, ...list.map(row)));
  return make("div", {}, make("h3", {}, "What the converter tried"), make("div", { class: "wide", tabindex: 0, role: "region", "aria-label": "Candidates" }, table));
}

/** Names and example values of what the model takes: its columns, or its tensors where it has none. */
function fields(manifest) {
  const golden = manifest.golden.inputs;
  const columns = (manifest.columns || []).map(each => ({ name: each.name, dtype: each.dtype, value: golden[each.tensor][0][each.index] }));
  const covered = new Set((manifest.columns || []).map(each => each.tensor));
  return [...columns, ...manifest.tensors.filter(each => !covered.has(each.name)).map(each => ({ name: each.name, dtype: each.dtype, value: golden[each.name][0], whole: true }))];
}

function trial(model, version, manifest) {
  const inputs = fields(manifest).map(field => {
    const shown = field.whole ? JSON.stringify(field.value) : field.value === null ? "" : plain(field);
    const input = make(field.whole ? "textarea" : "input", { placeholder: field.whole ? "" : "missing" });
    input.value = shown;
    return { field, input, label: make("label", {}, field.name, " ", make("span", { class: "soft" }, field.dtype), input) };
  });
  const answer = make("pre", { "aria-live": "polite" }, "The answer appears here."), send = make("button", {}, "Predict");
  const form = make("form", {}, make("h3", {}, "Try it, with the first golden row"), make("div", { class: "fields" }, ...inputs.map(each => each.label)), send, answer);
  form.addEventListener("submit", async event => {
    event.preventDefault();
    try {
      const row = Object.fromEntries(inputs.map(({ field, input }) => [field.name, read(field, input.value)]));
      const began = performance.now();
      const reply = await fetch(`/v1/models/${encodeURIComponent(model)}/versions/${version}:predict`, {
        method: "POST", headers: headers({ "content-type": "application/json" }), body: JSON.stringify({ rows: [row] }),
      });
      const took = performance.now() - began, told = await reply.json();
      answer.className = reply.ok ? "" : "bad";
      answer.textContent = reply.ok ? `${JSON.stringify(told.predictions[0], null, 1)}\n\n${took.toFixed(1)} ms, the way to the browser included` : told.error;
    } catch (error) {
      answer.className = "bad";
      answer.textContent = error.message;
    }
  });
  return form;
}

/** A number with as many digits as its type holds: 13.74, not 13.739999771118164. */
function plain({ dtype, value }) {
  if (dtype !== "float32" || typeof value !== "number") return String(value);
  for (let digits = 1; digits < 9; digits++) if (Math.fround(value.toPrecision(digits)) === Math.fround(value)) return String(Number(value.toPrecision(digits)));
  return String(value);
}

function read(field, text) {
  if (field.whole) {
    try { return JSON.parse(text); } catch { throw new Error(`${field.name}: expected JSON, as [1, 2]`); }
  }
  if (field.dtype === "string") return text;
  if (text.trim() === "") return null;
  if (field.dtype === "bool") return text.trim() === "true";
  if (Number.isNaN(Number(text))) throw new Error(`${field.name}: expected a number, received '${text}'`);
  return Number(text);
}
