// A slider over ready pictures. Follows live.js.
const STYLE = `
  .th-frame-slider[data-live] > img { display: block }
  .th-frame-slider label { display: flex; flex-wrap: wrap; align-items: center; gap: 8px; margin: 0 0 8px }
  .th-frame-slider input { flex: 1 1 160px; max-width: 420px; min-height: 30px; accent-color: #0072b2 }
  .th-frame-slider output { min-width: 5em; font-weight: bold; font-variant-numeric: tabular-nums }`;

enliven("frame-slider", STYLE, (figure, { label, start, frames }) => {
  const image = figure.querySelector("img");
  // Above the picture, so that it stays under the finger when pictures differ in height.
  const line = add(figure, "label", label);
  figure.prepend(line);
  const slider = add(line, "input", "", { type: "range", min: 0, max: frames.length - 1, step: 1, value: start });
  const output = add(line, "output", "", { "aria-hidden": "true" });
  slider.oninput = () => {
    const { name, alt, png } = frames[slider.valueAsNumber];
    image.src = `data:image/png;base64,${png}`;
    image.alt = alt;
    output.textContent = name;
    slider.setAttribute("aria-valuetext", name);
  };
  slider.oninput();
  return () => {};
});
