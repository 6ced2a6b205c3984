// Dials over settings that were measured when the page was built. Follows live.js.
const STYLE = `
  .th-edit-dial label { display: grid; grid-template-columns: 30% minmax(90px, 1fr) 3em; gap: 8px; width: 100%;
    align-items: center }
  .th-edit-dial input { width: 100%; min-height: 30px; accent-color: #0072b2 }
  .th-edit-dial output { text-align: right; font-variant-numeric: tabular-nums }
  .th-edit-dial table { border-collapse: collapse; width: 100%; margin: 6px 0; display: table }
  .th-edit-dial td, .th-edit-dial th { padding: 2px 6px; text-align: left; font-weight: normal; border: 0;
    font-variant-numeric: tabular-nums; background: none; color: inherit }
  .th-edit-dial td, .th-edit-dial thead th { overflow-wrap: normal }
  .th-edit-dial td:last-child { width: 40% }
  .th-edit-dial .th-bar { display: block; height: 12px; margin: 0; background: #0072b2 }
  .th-edit-dial .th-start { background: #8a8a8a; height: 5px }`;
const shown = value => Number(value.toPrecision(3)).toString().replace("-", "−");
const interval = ([value, low, high]) => shown(value) + (low < high ? ` [${shown(low)}, ${shown(high)}]` : "");

enliven("edit-dial", STYLE, (figure, { scales, names, states }, paint) => {
  const at = scales.map(scale => scale.start);
  const panel = add(figure, "div");
  const outputs = scales.map((scale, i) => {
    const label = add(panel, "label");
    add(label, "span", scale.name);
    const slider = add(label, "input", "", { type: "range", min: 0, max: scale.stops.length - 1, step: 1, value: scale.start });
    const output = add(label, "output");
    slider.oninput = () => {
      at[i] = slider.valueAsNumber;
      slider.setAttribute("aria-valuetext", shown(scale.stops[at[i]]));
      paint();
    };
    slider.setAttribute("aria-valuetext", shown(scale.stops[at[i]]));
    return output;
  });
  const table = add(figure, "table");
  const head = add(add(table, "thead"), "tr");
  ["", "start", "now", "now (wide), start (narrow)"].forEach(text => add(head, "th", text || "measured", { scope: "col" }));
  const body = add(table, "tbody");
  // Row-major, as itertools.product makes them: the last scale moves fastest.
  const index = places => places.reduce((sum, place, i) => sum * scales[i].stops.length + place, 0);
  const first = states[index(at)];
  const most = names.map((_, n) => Math.max(...states.map(state => Math.abs(state[n][0]))) || 1);
  const rows = names.map((name, n) => {
    const row = add(body, "tr");
    add(row, "th", name, { scope: "row" });
    add(row, "td", interval(first[n]));
    const now = add(row, "td");
    const cell = add(row, "td");
    return { now, bar: add(cell, "span", "", { class: "th-bar" }), start: add(cell, "span", "", { class: "th-bar th-start" }) };
  });
  const words = add(figure, "small", "", { "aria-live": "polite" });

  return () => {
    const state = states[index(at)];
    scales.forEach((scale, i) => { outputs[i].textContent = shown(scale.stops[at[i]]); });
    rows.forEach(({ now, bar, start }, n) => {
      now.textContent = interval(state[n]);
      bar.style.width = `${Math.abs(state[n][0]) / most[n] * 100}%`;
      bar.style.background = state[n][0] < 0 ? "#d55e00" : "#0072b2";
      start.style.width = `${Math.abs(first[n][0]) / most[n] * 100}%`;
    });
    words.textContent = `Measured when the page was built, at ${scales.map((scale, i) =>
      `${scale.name} ${shown(scale.stops[at[i]])}`).join(", ")}; in a notebook the dials turn freely.`;
    figure.dataset.state = state.map(([value]) => value).join(" ");
  };
});
