// What all figures that come alive share. The figure's own script follows in the same function and calls `enliven`.
"use strict";
const INK = { light: "#1a1a1a", dark: "#eee" };
const PAPER = { light: "#fff", dark: "#1b1b1b" };
const CSS = `
  .th-live[data-live] { box-sizing: border-box; max-width: 680px; padding: 8px; border-radius: 4px; text-align: left;
    overflow-wrap: anywhere;
    font: 14px/1.4 system-ui, sans-serif; color: ${INK.light}; background: ${PAPER.light} }
  .th-live[data-theme-dark] { color: ${INK.dark}; background: ${PAPER.dark}; color-scheme: dark }
  .th-live[data-live] > img { display: none }
  .th-live div { display: flex; flex-wrap: wrap; gap: 6px; margin: 6px 0; align-items: center }
  .th-live button { font: inherit; color: inherit; background: none; border: 1px solid #8a8a8a; border-radius: 4px;
    min-width: 30px; min-height: 30px; padding: 2px 7px; display: inline-flex; align-items: center; gap: 5px;
    cursor: pointer; overflow-wrap: anywhere; text-align: left }
  .th-live :focus-visible { outline: 2px solid #0072b2; outline-offset: 1px }
  .th-live[data-theme-dark] :focus-visible { outline-color: #56b4e9 }
  .th-live strong, .th-live small { display: block }`;

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

// A pen whose unit is one CSS pixel, on a canvas as fine as the screen.
function pencil(canvas, width, height) {
  const fine = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * fine);
  canvas.height = Math.round(height * fine);
  const pen = canvas.getContext("2d");
  pen.scale(fine, fine);
  return pen;
}

// A labelled row of buttons of which one is pressed; `chosen(i)` is called when that changes.
function choice(parent, name, labels, chosen) {
  const group = add(parent, "div", "", { role: "group", "aria-label": name });
  add(group, "span", `${name}:`);
  const buttons = labels.map((text, i) => {
    const button = add(group, "button", text, { type: "button", "aria-pressed": String(i === 0) });
    button.onclick = () => {
      buttons.forEach((other, j) => other.setAttribute("aria-pressed", String(i === j)));
      chosen(i);
    };
    return button;
  });
}

// How much a token is looked at, as its background; never so dark (or light) that the text is hard to read.
function shade(node, share, theme) {
  node.style.background = theme === "dark" ? `rgba(86,180,233,${share * 0.55})` : `rgba(0,114,178,${share * 0.8})`;
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
