// Small helpers that every part of the lab uses. The files of this folder become one function (_ext/lab.py).
"use strict";
const ROOT = document.querySelector(".th-lab");
const DATA = JSON.parse(ROOT.querySelector("script[type='application/json']").textContent);
const { layers: LAYERS, heads: HEADS, parts: PARTS } = DATA.shape; // of the model; `parts`: components of a head

function add(parent, tag, text = "", attributes = {}) {
  const node = document.createElement(tag);
  node.textContent = text;
  Object.entries(attributes).forEach(([name, value]) => node.setAttribute(name, value));
  return parent.appendChild(node);
}

function button(parent, text, act, attributes = {}) {
  const node = add(parent, "button", text, { type: "button", ...attributes });
  node.onclick = act;
  return node;
}

function drawn(parent, tag, attributes = {}) { // a piece of SVG
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  Object.entries(attributes).forEach(([name, value]) => node.setAttribute(name, value));
  return parent.appendChild(node);
}

const signed = (value, digits = 1) => value.toFixed(digits).replace(/^-0(\.0*)?$/, "0$1").replace("-", "−");
const share = value => (value < 0.0005 ? "<0.1%" : `${(100 * value).toFixed(1)}%`);
const whole = value => `${Math.round(100 * value)}%`;
const seen = token => token.replace(/\n/g, "⏎").replace(/^ /, "") || "␣"; // a token as readers see it
const headOf = ({ layer, head }) => `${layer}.${head}`;
const nameOf = dial => `${dial.layer}.${dial.head}.${dial.k}`;
