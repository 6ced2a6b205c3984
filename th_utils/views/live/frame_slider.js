// A slider over ready pictures, true to scale. Follows live.js.
const STYLE = `
  .th-frame-slider[data-live] > img { display: block; height: auto }
  .th-frame-slider label { display: flex; flex-wrap: wrap; align-items: center; gap: 0 10px; margin: 0 0 8px }
  .th-frame-slider .th-track { flex: 1 1 260px; max-width: 520px; min-width: 0 }
  .th-frame-slider input { display: block; width: 100%; min-height: 30px; margin: 0 }
  .th-frame-slider svg { display: block; width: 100%; height: 32px; overflow: visible }
  .th-frame-slider output { min-width: 3em; font-weight: bold; font-variant-numeric: tabular-nums }`;

enliven("frame-slider", STYLE, (figure, { label, start, frames, marks }) => {
  const image = figure.querySelector("img");
  // Above the picture, so that it stays under the finger when pictures differ in height.
  const line = add(figure, "label", label);
  figure.prepend(line);
  const track = add(line, "span", "", { class: "th-track" });
  const places = frames.map(frame => frame.at);
  const [low, high] = [places[0], places[places.length - 1]];
  const slider = add(track, "input", "", { type: "range", min: low, max: high, step: "any" });
  const ruler = draw(track, "svg", { "aria-hidden": "true" });
  const output = add(line, "output", "", { "aria-hidden": "true" });
  let shown = start;
  function go(to) {
    shown = clamp(to, 0, frames.length - 1);
    const { name, alt, png, at } = frames[shown];
    slider.value = at;
    image.src = `data:image/png;base64,${png}`;
    image.alt = alt;
    output.textContent = name;
    slider.setAttribute("aria-valuetext", name);
  }
  slider.oninput = () => go(nearest(places, slider.valueAsNumber));
  slider.onkeydown = event => {
    const to = { ArrowLeft: shown - 1, ArrowDown: shown - 1, PageDown: shown - 1, ArrowRight: shown + 1, ArrowUp: shown + 1,
      PageUp: shown + 1, Home: 0, End: frames.length - 1 }[event.key];
    if (to === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    go(to);
  };
  go(start);

  return () => {
    const width = slider.clientWidth;
    ruler.replaceChildren();
    if (!width) return; // in a closed tab
    const x = at => THUMB + (at - low) / (high - low || 1) * (width - 2 * THUMB);
    const write = (at, y, text, more) => {
      const spot = x(at);
      const anchor = spot < 40 ? "start" : spot > width - 40 ? "end" : "middle";
      draw(ruler, "text", { x: anchor === "middle" ? spot : clamp(spot, 0, width), y, "text-anchor": anchor, ...more }, text);
    };
    places.forEach(at => draw(ruler, "path", { d: `M${x(at)} 0V5`, stroke: "var(--th-other)" }));
    write(low, 17, frames[0].name);
    if (frames.length > 1) write(high, 17, frames[frames.length - 1].name);
    marks.forEach(([name, at]) => {
      draw(ruler, "path", { d: `M${x(at)} -6V18`, stroke: "var(--th-ink)", "stroke-width": 2 });
      write(at, 30, name, { style: "font-weight:600" });
    });
  };
});
