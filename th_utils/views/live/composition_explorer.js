// The component explorer (composition_explorer.py says what it shows). Follows live.js.
const STYLE = `
  .th-composition-explorer canvas { display: block; width: 100%; touch-action: manipulation; cursor: pointer }
  .th-composition-explorer .th-boards { align-items: flex-start; gap: 4px 16px; margin: 0 }
  .th-composition-explorer .th-boards div { flex: 1 1 300px; min-width: 0; display: block; margin: 0 }
  .th-composition-explorer .th-boards span { font-weight: 600 }`;
const MEASURES = [["best", "best component"], ["whole", "whole head"]];
const shown = (value, digits = 3) => value.toFixed(digits).replace("-", "−");
const rankOf = (values, value) => 1 + values.filter(other => other > value).length;
const LEFT = 20, FOOT = 18; // pixels around a board, for the axes

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
  const layers = () => 1 + Math.max(...now().writers.map(([layer]) => layer));
  const heads = () => 1 + Math.max(...now().writers.map(([, head]) => head));
  const row = () => (figure.clientWidth < 560 ? 12 : 18);

  const controls = add(figure, "div", "", { class: "th-controls" });
  choice(controls, "Reader", readers.map(reader => reader.name), i => {
    Object.assign(state, { reader: i, writer: readers[i].strongest });
    paint();
  });
  choice(controls, "Weights", MEASURES.map(([, name]) => name), i => {
    state.measure = i;
    paint();
  });
  const boards = add(figure, "div", "", { class: "th-boards" });
  const [weights, measured] = ["th-grid", "th-measured"].map(name => {
    const side = add(boards, "div");
    const told = add(side, "span");
    const board = add(side, "canvas", "", { class: name });
    board.onclick = event => {
      const box = board.getBoundingClientRect();
      go(Math.floor((event.clientX - box.left - LEFT) / ((box.width - LEFT) / layers())),
        Math.floor((event.clientY - box.top) / row()));
    };
    return { told, board };
  });
  Object.entries({ role: "application", tabindex: 0,
    "aria-label": "Writing heads, layers across and heads down. Choose one with the arrow keys." })
    .forEach(([name, value]) => weights.board.setAttribute(name, value));
  measured.board.setAttribute("role", "img");
  const words = add(figure, "p", "", { "aria-live": "polite" });
  add(figure, "small", `Layers across, heads down. Framed: ${data.marks.join(", ") || "none"}. Measured by path patching: ${data.unit}.`);
  const more = toggle(add(controls, "div"), "Its components", paint);
  const profile = add(figure, "canvas", "", { role: "img", class: "th-profile" });

  function go(layer, head) {
    const [one, two] = [clamp(layer, 0, layers() - 1), clamp(head, 0, heads() - 1)];
    const found = now().writers.findIndex(pair => pair[0] === one && pair[1] === two);
    if (found >= 0) state.writer = found;
    paint();
  }
  weights.board.onkeydown = event => {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!step || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    const [layer, head] = now().writers[state.writer];
    go(layer + step[0], head + step[1]);
  };

  function writer(pen) {
    pen.font = "11px system-ui, sans-serif";
    return (text, x, y, align) => {
      Object.assign(pen, { textAlign: align, fillStyle: colourOf(figure, "ink") });
      pen.fillText(text, x, y);
    };
  }

  // A cell is the darker, the larger its number. Above zero in one colour, below in another, with the sign.
  function drawBoard(board, values, above, low) {
    const high = row();
    const pen = pencil(board, heads() * high + FOOT);
    if (!pen) return;
    const write = writer(pen);
    const wide = (board.clientWidth - LEFT) / layers();
    const most = Math.max(...values.map(value => Math.abs(value - low))) || 1;
    const box = (i, inset) => {
      const [layer, head] = now().writers[i];
      return [LEFT + layer * wide + inset, head * high + inset, wide - 2 * inset, high - 2 * inset];
    };
    values.forEach((value, i) => {
      const strength = Math.abs(value - low) / most;
      pen.fillStyle = colourOf(figure, value < 0 ? "against" : above);
      pen.globalAlpha = 0.06 + 0.94 * strength;
      pen.fillRect(...box(i, 0.5));
      pen.globalAlpha = 1;
      if (value < 0 && strength > 0.1) {
        const [x, y, w, h] = box(i, 0);
        pen.fillStyle = colourOf(figure, strength > 0.6 ? "paper" : "ink");
        pen.fillRect(x + w / 2 - 3, y + h / 2 - 0.5, 6, 1.5);
      }
      if (data.marks.includes(now().names[i])) {
        Object.assign(pen, { strokeStyle: colourOf(figure, "message"), lineWidth: 2 });
        pen.strokeRect(...box(i, 1));
      }
    });
    outline(figure, pen, 2.5, () => pen.rect(...box(state.writer, 0)));
    for (let head = 0; head < heads(); head++) write(String(head), LEFT - 6, (head + 0.5) * high + 4, "right");
    for (let layer = 0; layer < layers(); layer += wide > 22 ? 1 : 5)
      write(String(layer), LEFT + (layer + 0.5) * wide, heads() * high + 13, "center");
  }

  function drawProfile() {
    const open = more.ariaExpanded === "true";
    profile.style.cssText = open ? "" : "display: none";
    if (!open) {
      profile.width = 0;
      return;
    }
    const reader = now();
    const part = reader.parts[state.writer];
    const name = reader.names[state.writer];
    profile.setAttribute("aria-label", `Composition scores of the ${data.k} components of ${name} into ${reader.name}; ` +
      `largest ${shown(Math.max(...part))}, 99.9% of all components lie below ${shown(reader.band[1])}.`);
    const pen = pencil(profile, 150);
    if (!pen) return;
    const write = writer(pen);
    const [left, right, top, bottom] = [46, profile.clientWidth - 4, 18, 122];
    const y = value => bottom - value / reader.top * (bottom - top);
    pen.fillStyle = colourOf(figure, "raised");
    pen.fillRect(left, y(reader.band[1]), right - left, y(reader.band[0]) - y(reader.band[1]));
    const wide = (right - left) / data.k;
    part.forEach((value, i) => {
      pen.fillStyle = colourOf(figure, value > reader.band[1] ? "message" : "other");
      pen.fillRect(left + i * wide + 0.5, y(value), Math.max(1, wide - 1), bottom - y(value));
    });
    write(shown(reader.top, 2), left - 6, top + 4, "right");
    write("0", left - 6, bottom + 4, "right");
    write(`components of ${name}, score into ${reader.name} (shaded: 99.9% of all)`, (left + right) / 2, bottom + 20, "center");
  }

  return () => {
    const reader = now();
    const i = state.writer;
    const [part, score, rank] = reader.found[i];
    const [measure, called] = MEASURES[state.measure];
    const values = reader[measure];
    const whole = measure === "whole";
    drawBoard(weights.board, values, "ink", Math.min(...values));
    drawBoard(measured.board, reader.effect, "towards", 0);
    drawProfile();
    weights.told.textContent = `By weights, ${called}: ${shown(whole ? values[i] : score)}`;
    measured.told.textContent = `By measurement: ${shown(reader.effect[i], 2)}`;
    measured.board.setAttribute("aria-label", `Measured effects of the same heads on ${reader.name}; the largest is that of ` +
      `${reader.names[reader.strongest]}, ${shown(reader.effect[reader.strongest], 2)}.`);
    words.textContent = `${reader.names[i]} as a writer into ${reader.name}: by weights ` +
      (whole ? `the whole head ranks ${rankOf(values, values[i])} of ${values.length} heads`
        : `its best component, ${reader.names[i]}.${part}, ranks ${rank} of ${(values.length * data.k).toLocaleString("en")}`) +
      `, by measurement it ranks ${rankOf(reader.effect.map(Math.abs), Math.abs(reader.effect[i]))} of ${values.length} heads.`;
    figure.dataset.writer = reader.names[i];
  };
});
