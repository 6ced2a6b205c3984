// What all figures that come alive share. The figure's own script follows in the same function and calls `enliven`.
"use strict";
const CSS = `
  .th-live[data-live] { box-sizing: border-box; max-width: 860px; padding: 8px; border-radius: 4px; text-align: left;
    overflow-wrap: anywhere; accent-color: var(--th-ink);
    font: 14px/1.4 var(--th-sans, system-ui, sans-serif); color: var(--th-ink); background: var(--th-paper) }
  .th-live[data-theme-dark] { color-scheme: dark }
  .th-live[data-live] > img { display: none }
  .th-live div { display: flex; flex-wrap: wrap; gap: 6px; margin: 6px 0; align-items: center }
  .th-live p { margin: 6px 0 }
  .th-live button { font: inherit; color: inherit; background: none; border: 1px solid var(--th-other); border-radius: 4px;
    min-width: 30px; min-height: 30px; padding: 2px 7px; display: inline-flex; align-items: center; justify-content: center;
    gap: 5px; cursor: pointer; overflow-wrap: anywhere; text-align: left }
  .th-live button[aria-pressed=true] { border-width: 2px; font-weight: 600 }
  .th-live .th-controls { gap: 2px 16px; margin: 4px 0 }
  .th-live .th-controls div { gap: 4px; margin: 0 }
  .th-live svg text { font: 12px var(--th-sans, system-ui, sans-serif); fill: var(--th-ink) }
  .th-live :focus-visible { outline: 2px solid var(--th-ink); outline-offset: 1px }
  .th-live strong, .th-live small { display: block }
  @media (pointer: coarse) { .th-live[data-live] :is(button, input) { min-width: 44px; min-height: 44px } }`;
const THUMB = 8; // half of a slider's knob, which does not leave its track
const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
const nearest = (values, value) =>
  values.reduce((best, one, i) => (Math.abs(one - value) < Math.abs(values[best] - value) ? i : best), 0);

function add(parent, tag, text = "", attributes = {}) {
  const node = document.createElement(tag);
  node.textContent = text;
  Object.entries(attributes).forEach(([name, value]) => node.setAttribute(name, value));
  return parent.appendChild(node);
}

// The same for a drawing: an element of SVG.
function draw(parent, tag, attributes = {}, text = "") {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  node.textContent = text;
  Object.entries(attributes).forEach(([name, value]) => node.setAttribute(name, value));
  return parent.appendChild(node);
}

// What a role of the palette looks like now, for a canvas, which knows no variables.
const colourOf = (figure, name) => getComputedStyle(figure).getPropertyValue(`--th-${name}`).trim();

// A pen whose unit is one CSS pixel, on a canvas as fine as the screen; none on a canvas in a closed tab.
function pencil(canvas, height) {
  const [width, fine] = [canvas.clientWidth, window.devicePixelRatio || 1];
  if (!width) return null;
  canvas.style.height = `${height}px`;
  canvas.width = Math.round(width * fine);
  canvas.height = Math.round(height * fine);
  const pen = canvas.getContext("2d");
  pen.scale(fine, fine);
  return pen;
}

// A line of ink with an edge of paper, seen on every colour.
function outline(figure, pen, thick, path) {
  pen.beginPath();
  path();
  [["paper", thick + 2.5], ["ink", thick]].forEach(([name, lineWidth]) => {
    Object.assign(pen, { strokeStyle: colourOf(figure, name), lineWidth });
    pen.stroke();
  });
}

// A labelled row of buttons of which one is pressed; `chosen(i)` is called when that changes.
function choice(parent, name, labels, chosen, start = 0) {
  const group = add(parent, "div", "", { role: "group", "aria-label": name });
  add(group, "span", `${name}:`);
  const buttons = labels.map((text, i) => {
    const button = add(group, "button", text, { type: "button", "aria-pressed": String(i === start) });
    button.onclick = () => {
      buttons.forEach((other, j) => other.setAttribute("aria-pressed", String(i === j)));
      chosen(i);
    };
    return button;
  });
}

// A button that opens something: `turned(open)` is called when it is pressed.
function toggle(parent, text, turned) {
  const button = add(parent, "button", `${text} ▸`, { type: "button", "aria-expanded": "false" });
  button.onclick = () => {
    const open = button.ariaExpanded !== "true";
    button.ariaExpanded = String(open);
    button.textContent = `${text} ${open ? "▾" : "▸"}`;
    turned(open);
  };
  return button;
}

// Light text around the figure means a dark page, whatever the page's own word for it.
function isDark(figure) {
  const [red, green, blue] = (getComputedStyle(figure.parentElement).color.match(/[\d.]+/g) || [0, 0, 0]).map(Number);
  return 0.3 * red + 0.6 * green + 0.1 * blue > 130;
}

// `build(figure, data, paint)` makes the controls and returns the function that draws; `paint` asks for a drawing.
// If it fails, the picture stays.
function enliven(kind, css, build) {
  document.querySelectorAll(`figure.th-${kind}:not([data-live])`).forEach(figure => {
    let draw;
    let waiting = false;
    function now() {
      waiting = false;
      if (!figure.isConnected) return; // its cell ran again
      const dark = isDark(figure);
      figure.toggleAttribute("data-theme-dark", dark);
      draw(dark ? "dark" : "light");
    }
    function paint() {
      if (!waiting) requestAnimationFrame(now);
      waiting = true;
    }
    const before = figure.childNodes.length;
    try {
      const data = JSON.parse(figure.querySelector("script[type='application/json']").textContent);
      figure.dataset.live = "";
      add(figure, "style", ROLES + CSS + css); // a notebook has no palette.css
      if (data.title) add(figure, "strong", data.title);
      draw = build(figure, data, paint);
      now();
    } catch (error) {
      delete figure.dataset.live;
      while (figure.childNodes.length > before) figure.lastChild.remove();
      setTimeout(() => { throw error; }); // reported, and the next figure still comes alive
      return;
    }
    figure.addEventListener("keydown", event => event.stopPropagation()); // the theme turns pages with the arrow keys
    new ResizeObserver(paint).observe(figure);
    const theme = new MutationObserver(paint);
    [document.documentElement, document.body].forEach(node => theme.observe(node, { attributes: true }));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paint);
  });
}
