// What all of the page uses.
const SVG = new Set(["svg", "line", "path"]);

export const byId = id => document.getElementById(id);

/** An element with attributes and children; strings become text. */
export function make(tag, attributes = {}, ...children) {
  const node = SVG.has(tag) ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) if (value !== "") node.setAttribute(name, value);
  node.append(...children);
  return node;
}

export function headers(more = {}) {
  const token = byId("token").value.trim();
  return token ? { ...more, authorization: "Bearer " + token } : more;
}
