// Gives every <figure class="th-scrub"> that is not alive yet a slider over its pictures. If anything fails, the
// picture stays.
(() => {
  "use strict";
  const CSS = `
    .th-scrub label { display: flex; flex-wrap: wrap; align-items: center; gap: 8px; margin: 0 0 8px;
      font: 14px/1.4 system-ui, sans-serif }
    .th-scrub input { flex: 1 1 160px; max-width: 420px; min-height: 30px; accent-color: #0072b2 }
    .th-scrub output { min-width: 5em; font-weight: bold; font-variant-numeric: tabular-nums }
    .th-scrub :focus-visible { outline: 2px solid #56b4e9; outline-offset: 1px }`;

  function start(figure) {
    const { label, start, frames } = JSON.parse(figure.querySelector("script[type='application/json']").textContent);
    const image = figure.querySelector("img");
    const make = (tag, parent, attributes = {}) => {
      const node = document.createElement(tag);
      Object.entries(attributes).forEach(([name, value]) => node.setAttribute(name, value));
      parent.append(node);
      return node;
    };
    make("style", figure).textContent = CSS;
    // Above the picture, so that it stays under the finger when pictures differ in height.
    const line = document.createElement("label");
    figure.prepend(line);
    line.append(label);
    const slider = make("input", line, { type: "range", min: 0, max: frames.length - 1, step: 1, value: start });
    const output = make("output", line, { "aria-hidden": "true" });

    slider.oninput = () => {
      const { name, alt, png } = frames[slider.valueAsNumber];
      image.src = `data:image/png;base64,${png}`;
      image.alt = alt;
      output.textContent = name;
      slider.setAttribute("aria-valuetext", name);
    };
    slider.onkeydown = event => event.stopPropagation(); // the theme turns pages with the arrow keys
    slider.oninput();
    figure.dataset.live = "";
  }

  document.querySelectorAll("figure.th-scrub:not([data-live])").forEach(start);
})();
