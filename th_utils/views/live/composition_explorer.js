// The component explorer (composition_explorer.py says what it shows). Follows live.js.
const STYLE = `
  .th-composition-explorer button[aria-pressed=true] { border-width: 2px; font-weight: 600 }
  .th-composition-explorer canvas { display: block; width: 100%; touch-action: manipulation; cursor: pointer }
  .th-composition-explorer p { margin: 6px 0 }`;
const MEASURES = [["best", "best component"], ["whole", "whole head"], ["effect", "measured effect"]];
const shown = (value, digits = 3) => value.toFixed(digits).replace("-", "−");
const rankOf = (values, value) => 1 + values.filter(other => other > value).length;

enliven("composition-explorer", STYLE, (figure, data, paint) => {
  const readers = data.readers.map(reader => {
    const bytes = Uint8Array.from(atob(reader.components), letter => letter.charCodeAt(0));
    const all = Array.from(bytes, level => level / data.steps * reader.top);
    const parts = reader.writers.map((_, i) => all.slice(i * data.k, (i + 1) * data.k));
    const sorted = Float64Array.from(all).sort();
    const band = [0.0005, 0.9995].map(q => sorted[Math.round(q * (sorted.length - 1))]);
    const names = reader.writers.map(([layer, head]) => `${layer}.${head}`);
    const best = reader.best.map(([, score]) => score);
    return { ...reader, found: reader.best, parts, band, names, best, strongest: reader.effect.reduce(
      (top, value, i, values) => (Math.abs(value) > Math.abs(values[top]) ? i : top), 0) };
  });
  const state = { reader: 0, measure: 0, writer: readers[0].strongest };
  const now = () => readers[state.reader];

  choice(figure, "Reader", readers.map(reader => reader.name), i => {
    Object.assign(state, { reader: i, writer: readers[i].strongest });
    paint();
  });
  choice(figure, "Colour", MEASURES.map(([, name]) => name), i => {
    state.measure = i;
    paint();
  });
  add(figure, "small", "Writing heads: layers across, heads down. Click one, or use the arrow keys.");
  const grid = add(figure, "canvas", "", { role: "application", tabindex: 0, class: "th-grid",
    "aria-label": "Writing heads, layers across and heads down. Choose one with the arrow keys." });
  const words = add(figure, "p", "", { "aria-live": "polite" });
  const profile = add(figure, "canvas", "", { role: "img", class: "th-profile" });
  const cloud = add(figure, "canvas", "", { role: "img", class: "th-scatter" });
  add(figure, "small", "Scores are computed from the weights alone; the measured effect is path patching's, on the " +
    `chapter's prompts: ${data.unit}. Outlined: ${data.marks.join(", ") || "none"}. Shaded: 99.9% of all components.`);

  const layers = () => 1 + Math.max(...now().writers.map(([layer]) => layer));
  const heads = () => 1 + Math.max(...now().writers.map(([, head]) => head));
  const place = (layer, head) => now().writers.findIndex(pair => pair[0] === layer && pair[1] === head);
  function go(layer, head) {
    const found = place(Math.min(layers() - 1, Math.max(0, layer)), Math.min(heads() - 1, Math.max(0, head)));
    if (found >= 0) state.writer = found;
    paint();
  }
  grid.onkeydown = event => {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!step || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    const [layer, head] = now().writers[state.writer];
    go(layer + step[0], head + step[1]);
  };
  const LEFT = 26;
  grid.onclick = event => {
    const box = grid.getBoundingClientRect();
    go(Math.floor((event.clientX - box.left - LEFT) / ((box.width - LEFT) / layers())),
      Math.floor((event.clientY - box.top) / 18));
  };
  let points = [];
  cloud.onclick = event => {
    const box = cloud.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    const far = points.map(([a, b]) => (a - x) ** 2 + (b - y) ** 2);
    state.writer = far.indexOf(Math.min(...far));
    paint();
  };

  function surface(canvas, height, theme) {
    const width = canvas.clientWidth;
    if (!width) return null; // in a closed tab
    canvas.style.height = `${height}px`;
    const pen = pencil(canvas, width, height);
    Object.assign(pen, { fillStyle: INK[theme], strokeStyle: "#8a8a8a", font: "12px system-ui, sans-serif" });
    return { pen, width, write: (text, x, y, align) => {
      Object.assign(pen, { textAlign: align, fillStyle: INK[theme] });
      pen.fillText(text, x, y);
    } };
  }

  function drawGrid(theme) {
    const area = surface(grid, heads() * 18 + 18, theme);
    if (!area) return;
    const { pen, width, write } = area;
    const reader = now();
    const values = reader[MEASURES[state.measure][0]];
    const signed = MEASURES[state.measure][0] === "effect";
    const low = signed ? 0 : Math.min(...values);
    const most = Math.max(...values.map(value => Math.abs(value - low))) || 1;
    const wide = (width - LEFT) / layers();
    const marked = new Set(data.marks);
    const box = (i, inset) => {
      const [layer, head] = reader.writers[i];
      return [LEFT + layer * wide + inset, head * 18 + inset, wide - 2 * inset, 18 - 2 * inset];
    };
    reader.writers.forEach((_, i) => {
      const strength = Math.abs(values[i] - low) / most;
      const [red, green, blue] = signed && values[i] < 0 ? [213, 94, 0] : theme === "dark" ? [86, 180, 233] : [0, 114, 178];
      pen.fillStyle = `rgba(${red},${green},${blue},${0.06 + 0.94 * strength})`;
      pen.fillRect(...box(i, 0.5));
      if (marked.has(reader.names[i])) {
        Object.assign(pen, { strokeStyle: INK[theme], lineWidth: 1.2 });
        pen.strokeRect(...box(i, 1.5));
      }
    });
    Object.assign(pen, { strokeStyle: "#E69F00", lineWidth: 3 });
    pen.strokeRect(...box(state.writer, 1));
    for (let head = 0; head < heads(); head++) write(String(head), LEFT - 6, head * 18 + 13, "right");
    for (let layer = 0; layer < layers(); layer += wide > 22 ? 1 : 5)
      write(String(layer), LEFT + (layer + 0.5) * wide, heads() * 18 + 13, "center");
  }

  function drawProfile(theme) {
    const area = surface(profile, 150, theme);
    const reader = now();
    const part = reader.parts[state.writer];
    const name = reader.names[state.writer];
    profile.setAttribute("aria-label", `Composition scores of the ${data.k} components of ${name} into ${reader.name}; ` +
      `largest ${shown(Math.max(...part))}, 99.9% of all components lie below ${shown(reader.band[1])}.`);
    if (!area) return;
    const { pen, width, write } = area;
    const [left, right, top, bottom] = [46, width - 4, 18, 122];
    const y = value => bottom - value / reader.top * (bottom - top);
    pen.fillStyle = theme === "dark" ? "rgba(255,255,255,.13)" : "rgba(0,0,0,.1)";
    pen.fillRect(left, y(reader.band[1]), right - left, y(reader.band[0]) - y(reader.band[1]));
    const wide = (right - left) / data.k;
    part.forEach((value, i) => {
      pen.fillStyle = value > reader.band[1] ? "#D55E00" : theme === "dark" ? "#56b4e9" : "#0072B2";
      pen.fillRect(left + i * wide + 0.5, y(value), Math.max(1, wide - 1), bottom - y(value));
    });
    write(shown(reader.top, 2), left - 6, top + 4, "right");
    write("0", left - 6, bottom + 4, "right");
    write(`components 0 to ${data.k - 1} of ${name}, score into ${reader.name}`, (left + right) / 2, bottom + 20, "center");
  }

  function drawScatter(theme) {
    const area = surface(cloud, 210, theme);
    const reader = now();
    cloud.setAttribute("aria-label", `Measured effect on ${reader.name} against the best component's score, ` +
      `${reader.writers.length} writers; ${reader.names[reader.strongest]} has the largest effect, ${shown(reader.effect[reader.strongest], 2)}.`);
    if (!area) return;
    const { pen, width, write } = area;
    const [left, right, top, bottom] = [46, width - 8, 10, 178];
    const [low, high] = [Math.min(0, ...reader.effect), Math.max(0, ...reader.effect)];
    const x = value => left + value / reader.top * (right - left);
    const y = value => bottom - (value - low) / (high - low || 1) * (bottom - top);
    points = reader.writers.map((_, i) => [x(reader.best[i]), y(reader.effect[i])]);
    pen.beginPath();
    pen.moveTo(left, y(0));
    pen.lineTo(right, y(0));
    pen.stroke();
    points.forEach(([a, b], i) => {
      pen.beginPath();
      pen.arc(a, b, i === state.writer ? 7 : 3, 0, 7);
      pen.fillStyle = i === state.writer ? "#E69F00" : theme === "dark" ? "#56b4e9" : "#0072B2";
      pen.fill();
    });
    [low, high].forEach(value => write(shown(value, 2), left - 6, y(value) + 4, "right"));
    write("0", left, bottom + 16, "center");
    write(shown(reader.top, 2), right, bottom + 16, "right");
    write("best component's score → measured effect ↑", (left + right) / 2, bottom + 28, "center");
  }

  return theme => {
    const reader = now();
    const i = state.writer;
    const [part, score, rank] = reader.found[i];
    drawGrid(theme);
    drawProfile(theme);
    drawScatter(theme);
    words.textContent = `${reader.names[i]} → ${reader.name}. Whole head ${shown(reader.whole[i])}, rank ` +
      `${rankOf(reader.whole, reader.whole[i])} of ${reader.whole.length}. Best component ${reader.names[i]}.${part}: ` +
      `${shown(score)}, rank ${rank} of ${reader.writers.length * data.k}. ` +
      `Measured effect ${shown(reader.effect[i], 2)}, rank ` +
      `${rankOf(reader.effect.map(Math.abs), Math.abs(reader.effect[i]))} by size.`;
    figure.dataset.writer = reader.names[i];
  };
});
