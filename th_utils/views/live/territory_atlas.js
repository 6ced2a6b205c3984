// A map of which outcome wins (territory_atlas.py says what it shows). Follows live.js.
const STYLE = `
  .th-territory-atlas .th-both { align-items: flex-start; flex-wrap: wrap; gap: 4px 14px; margin: 4px 0 }
  .th-territory-atlas canvas { flex: 1 1 320px; min-width: 0; cursor: crosshair; touch-action: pan-y }
  .th-territory-atlas .th-side { flex: 1 1 200px; display: block; margin: 0 }
  .th-territory-atlas .th-row { display: grid; grid-template-columns: 4.5em minmax(60px, 1fr) 3.6em; margin: 0; line-height: 1.45 }
  .th-territory-atlas .th-row :last-child { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums }
  .th-territory-atlas .th-row[data-wins] { font-weight: 700 }
  .th-territory-atlas .th-bar { display: block; height: 14px; border: 1px solid var(--th-ink); min-width: 1px }
  .th-territory-atlas label { display: flex; flex: 1 1 160px; min-width: 0; overflow-wrap: break-word; align-items: center; gap: 8px }
  .th-territory-atlas input { flex: 1 1 80px; min-width: 0; min-height: 30px; accent-color: var(--th-message) }
  .th-territory-atlas label output { min-width: 3em; font-weight: 600; font-variant-numeric: tabular-nums }
  .th-territory-atlas p { margin: 2px 0 }
  @media (max-width: 560px) {
    .th-territory-atlas .th-side { display: grid; grid-template-columns: 1fr 1fr; gap: 0 10px }
    .th-territory-atlas .th-side > span { grid-column: 1 / 3 }
    .th-territory-atlas .th-row { grid-template-columns: 4.2em minmax(16px, 1fr) auto }
    .th-territory-atlas p { line-height: 1.25 }
  }`;
const LEFT = 40, TOP = 20, BOTTOM = 20; // pixels around the map, for the axes
const written = value => String(Number(value.toPrecision(3))).replace("-", "−");
const percent = share => `${(100 * share).toFixed(1)}%`;
const inReach = (value, top) => clamp(value, 0, top);
const listed = words => words.join(", ").replace(/, ([^,]*)$/, " and $1");
const mean = values => values.reduce((sum, value) => sum + value, 0) / values.length;
enliven("territory-atlas", STYLE, (figure, { axes, panels, names, steps, unit, outcome, start }, paint) => {
  const [across, up, third] = axes.map(axis => axis.values);
  const bytes = text => Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
  const numbers = panels.map(panel => new Uint16Array(bytes(panel.shares).buffer));
  const tops = numbers.map(levels => levels.reduce((a, b) => Math.max(a, b)) / steps || 1);
  const snapped = point => point.map((value, axis) => nearest(axes[axis].values, value));
  const state = { panel: start, at: [0, 0, 0] };

  // The shares at a grid point, and their order: the winner first.
  function look([i, j, k]) {
    const n = panels[state.panel].natural.length;
    const from = ((i * up.length + j) * third.length + k) * n;
    const shares = Array.from(numbers[state.panel].subarray(from, from + n), level => level / steps);
    const order = shares.map((_, i) => i).sort((a, b) => shares[b] - shares[a] || a - b);
    return { shares, order, lead: shares[order[0]] - shares[order[1]] };
  }
  function go(...at) {
    state.at = at.map((i, axis) => inReach(i, axes[axis].values.length - 1));
    slider.value = state.at[2];
    paint();
  }
  function home() {
    const { natural } = panels[state.panel];
    go(...snapped(axes.map((_, axis) => mean(natural.map(point => point[axis])))));
  }

  const controls = add(figure, "div", "", { class: "th-controls" });
  choice(controls, "Show", panels.map(panel => panel.name), i => {
    state.panel = i;
    paint();
  }, start);
  const line = add(controls, "label", axes[2].name);
  const slider = add(line, "input", "", { type: "range", min: 0, max: third.length - 1, step: 1 });
  const output = add(line, "output", "", { "aria-hidden": "true" });
  add(add(controls, "div"), "button", "Where the model is", { type: "button" }).onclick = home;
  const both = add(figure, "div", "", { class: "th-both" });
  const map = add(both, "canvas", "", { role: "application", tabindex: 0, "aria-label":
    `Map, ${axes[0].name} across and ${axes[1].name} up. Arrow keys move the ring; the text below is about it.` });
  const side = add(both, "div", "", { class: "th-side" });
  const words = add(figure, "p", "", { "aria-live": "polite" });
  const usual = add(figure, "p");
  add(figure, "small", `Move the ring: click, drag or arrow keys. A number is the ${outcome} that wins in a cell; ` +
    "the larger, the clearer.");

  slider.oninput = () => go(state.at[0], state.at[1], slider.valueAsNumber);
  map.onkeydown = event => {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    if (!step || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    go(state.at[0] + step[0], state.at[1] + step[1], state.at[2]);
  };
  function point(event) {
    const box = map.getBoundingClientRect();
    const [right, down] = [event.clientX - box.left - LEFT, event.clientY - box.top - TOP];
    go(Math.floor(right / (box.width - LEFT) * across.length),
      Math.floor((1 - down / (box.height - TOP - BOTTOM)) * up.length), state.at[2]);
  }
  map.onpointerdown = event => {
    map.setPointerCapture(event.pointerId);
    point(event);
  };
  map.onpointermove = event => { if (map.hasPointerCapture(event.pointerId)) point(event); };

  function drawMap() {
    const [width, height] = [map.clientWidth, figure.clientWidth < 560 ? 190 : 236];
    const pen = pencil(map, height);
    if (!pen) return;
    const [wide, high] = [(width - LEFT) / across.length, (height - TOP - BOTTOM) / up.length];
    const spot = (i, j) => [LEFT + (i + 0.5) * wide, height - BOTTOM - (j + 0.5) * high]; // the middle of a cell
    function write(text, x, y, align, colour = "ink", size = 12) {
      Object.assign(pen, { font: `${size}px system-ui, sans-serif`, textBaseline: "middle" });
      Object.assign(pen, { textAlign: align, fillStyle: colourOf(figure, colour) });
      pen.fillText(text, x, y);
    }
    const cells = across.flatMap((_, i) => up.map((_, j) => ({ at: spot(i, j), ...look([i, j, state.at[2]]) })));
    const most = Math.max(...cells.map(cell => cell.lead)) || 1;
    cells.forEach(({ at: [x, y], order: [winner], lead }) => {
      pen.fillStyle = colourOf(figure, `place-${winner}`);
      pen.fillRect(x - wide / 2, y - high / 2, wide + 0.5, high + 0.5);
      write(names[winner], x, y, "center", `on-place-${winner}`, 9 + 8 * lead / most);
    });
    drawNatural({ pen, width, height, spot, write });
    outline(figure, pen, 2.5, () => pen.arc(...spot(state.at[0], state.at[1]), Math.min(wide, high) / 2, 0, 7));
    [0, across.length - 1].forEach(i => write(written(across[i]), spot(i, 0)[0], height - BOTTOM + 10, "center"));
    [0, up.length - 1].forEach(j => write(written(up[j]), LEFT - 5, spot(0, j)[1], "right"));
    write(`${axes[0].name} →`, (LEFT + width) / 2, height - BOTTOM + 10, "center");
    write(`↑ ${axes[1].name}`, 0, 8, "left");
  }

  // A diamond at every natural mean, pale where the slider stands elsewhere; names fan out, for the means may crowd.
  function drawNatural({ pen, width, height, spot, write }) {
    const part = (values, value) => inReach((value - values[0]) / (values.at(-1) - values[0]), 1) * (values.length - 1);
    const marks = panels[state.panel].natural.map((at, i) => {
      const [x, y] = spot(part(across, at[0]), part(up, at[1]));
      return { i, x, y, here: nearest(third, at[2]) === state.at[2] };
    }).sort((a, b) => a.x - b.x);
    const half = marks.length * 8;
    const centre = LEFT + half + inReach(mean(marks.map(mark => mark.x)) - LEFT - half, width - LEFT - 2 * half);
    const ys = marks.map(mark => mark.y);
    const flag = mean(ys) < height / 2 ? Math.max(...ys) + 26 : Math.min(...ys) - 26;
    marks.forEach(({ i, x, y, here }, rank) => {
      const to = centre - half + 16 * rank + 8;
      outline(figure, pen, 1, () => [[x, y], [to, flag]].forEach(at => pen.lineTo(...at)));
      outline(figure, pen, 1, () => {
        [[0, -5], [5, 0], [0, 5], [-5, 0]].forEach(([dx, dy]) => pen.lineTo(x + dx, y + dy));
        pen.closePath();
      });
      pen.fillStyle = colourOf(figure, "paper");
      pen.globalAlpha = here ? 1 : 0.4;
      pen.fill();
      pen.globalAlpha = 1;
      pen.fillRect(to - 7, flag - 8, 14, 16);
      write(names[i], to, flag, "center", "ink", 11);
    });
  }

  home();
  return () => {
    const { name, natural } = panels[state.panel];
    const { shares, order, lead } = look(state.at);
    const top = tops[state.panel];
    drawMap();
    side.replaceChildren();
    add(side, "span", `${unit} (full bar: ${percent(top)})`);
    shares.forEach((share, i) => {
      const row = add(side, "div", "", { class: "th-row" });
      row.toggleAttribute("data-wins", i === order[0]);
      add(row, "span", `${outcome} ${names[i]}`);
      const style = `width: ${100 * share / top}%; background: var(--th-place-${i})`;
      add(add(row, "span"), "i", "", { class: "th-bar", style });
      add(row, "span", percent(share));
    });
    output.textContent = written(third[state.at[2]]);
    slider.setAttribute("aria-valuetext", output.textContent);
    const setting = axes.map((axis, i) => `${axis.name} at ${written(axis.values[state.at[i]])}`);
    words.textContent = `With ${listed(setting)}, ${outcome} ${names[order[0]]} wins: ${percent(shares[order[0]])}, ` +
      `${(100 * lead).toFixed(1)} points ahead of ${outcome} ${names[order[1]]}.`;
    const owners = [...new Set(natural.map(point => look(snapped(point)).order[0]))].sort((a, b) => a - b);
    usual.textContent = `◆ Natural means (${name}), one for each ${outcome} that is right: they ` +
      `${owners.length > 1 ? "" : "all "}lie in cells of ${listed(owners.map(i => `${outcome} ${names[i]}`))}.`;
    Object.assign(figure.dataset, { at: state.at.join(" "), shares: shares.map(share => share.toFixed(5)).join(" ") });
  };
});
