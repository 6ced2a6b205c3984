// The channel playground (channel_playground.py has the equations). Follows live.js.
const BLUE = { light: "#0072B2", dark: "#56b4e9" };
const ORANGE = { light: "#b34d00", dark: "#e69f00" };
const STYLE = `
  .th-channel-playground button[aria-pressed=true] { border-width: 2px; font-weight: 600 }
  .th-channel-playground label { display: grid; grid-template-columns: minmax(0, auto) minmax(90px, 1fr) 4.5em; gap: 8px; width: 100%;
    align-items: center }
  .th-channel-playground input { width: 100%; min-height: 30px; accent-color: #0072B2 }
  .th-channel-playground output { text-align: right; font-variant-numeric: tabular-nums }
  .th-channel-playground .th-token { display: inline-flex; flex-direction: column; align-items: center; padding: 2px 5px;
    border: 2px solid transparent; border-radius: 4px; min-width: 1.6em }
  .th-channel-playground .th-token small { font-size: 11px; min-height: 1.3em }
  .th-channel-playground p { margin: 6px 0 }
  .th-channel-playground canvas { display: block; width: 100%; height: 246px }`;

const sum = (values, f) => values.reduce((total, value, i) => total + f(value, i), 0);
const shown = (value, digits) => value.toFixed(digits).replace("-", "−");

// Attention of one head from the last token when the coordinates change by `change`.
function attention(head, change) {
  const norm = 1 + sum(change, (d, i) => d * head.cross[i] + sum(change, (e, j) => d * e * head.square[i][j]));
  const scores = head.b.map((b, t) =>
    (b - head.beta[t] + sum(change, (d, i) => d * head.kappa[t][i])) / Math.sqrt(Math.max(norm, 1e-6)) + head.beta[t]);
  const top = Math.max(...scores);
  const shares = scores.map(score => Math.exp(score - top));
  const total = sum(shares, share => share);
  return shares.map(share => share / total);
}

// logit(answer) − logit(other) when all heads of the figure look as they do then.
function lead(prompt, change) {
  const rest = change.map(() => 0);
  return prompt.lead + sum(prompt.heads, head => {
    const before = attention(head, rest);
    return sum(attention(head, change), (share, t) => (share - before[t]) * head.pull[t]);
  });
}

enliven("channel-playground", STYLE, (figure, data, paint) => {
  const state = { prompt: 0, head: 0, coordinate: 0, values: [...data.prompts[0].natural] };

  function reset() {
    state.values = [...data.prompts[state.prompt].natural];
    sliders.forEach((slider, i) => { slider.value = state.values[i]; });
    paint();
  }
  choice(figure, "Prompt", data.prompts.map(({ words }, i) => `${i + 1}: ${words.join(" or ")}`), i => {
    state.prompt = i;
    reset();
  });
  choice(figure, "Head", data.heads, i => {
    state.head = i;
    paint();
  });

  const tokens = add(figure, "div", "", { role: "list", "aria-label": "Where the head looks from the last token" });
  const panel = add(figure, "div");
  const outputs = [];
  const sliders = data.components.map((name, i) => {
    const label = add(panel, "label");
    add(label, "span", `coordinate ${name}`);
    const limit = data.limits[i];
    const slider = add(label, "input", "", { type: "range", min: -limit, max: limit, step: "any" });
    slider.value = state.values[i];
    outputs.push(add(label, "output"));
    slider.oninput = () => {
      state.values[i] = Number(slider.value);
      state.coordinate = i;
      paint();
    };
    return slider;
  });
  const buttons = add(panel, "span");
  [["As the model wrote it", reset], ["Reversed", () => turn(value => -value)], ["Zero", () => turn(() => 0)]]
    .forEach(([text, act]) => { add(buttons, "button", text, { type: "button", style: "margin-right:6px" }).onclick = act; });
  function turn(f) {
    const natural = data.prompts[state.prompt].natural;
    state.values = state.values.map((_, i) =>
      Math.min(data.limits[i], Math.max(-data.limits[i], f(natural[i]))));
    sliders.forEach((slider, i) => { slider.value = state.values[i]; });
    paint();
  }
  const words = add(figure, "p", "", { "aria-live": "polite" });
  const chart = add(figure, "canvas", "", { role: "img" });
  add(figure, "small", "Line and sentence: computed here from the head's own queries and keys; only these heads react. " +
    "Dots: the whole model at these settings, computed when the page was built.");

  function drawChart(prompt, theme) {
    const width = chart.clientWidth;
    const i = state.coordinate;
    const limit = data.limits[i];
    const here = lead(prompt, state.values.map((value, j) => value - prompt.natural[j]));
    const fine = Array.from({ length: 81 }, (_, n) => (n / 40 - 1) * limit);
    const curve = fine.map(value => lead(prompt, data.components.map((_, j) => (j === i ? value - prompt.natural[j] : 0))));
    chart.setAttribute("aria-label", `Lead of the ${data.names[0]} against coordinate ${data.components[i]}: ` +
      `${shown(curve[0], 1)} at ${shown(-limit, 0)}, ${shown(curve[80], 1)} at ${shown(limit, 0)}, now ${shown(here, 1)}.`);
    if (!width) return here; // in a closed tab
    const pen = pencil(chart, width, 246);
    const [left, right, top, bottom] = [40, width - 8, 28, 206];
    const all = [...curve, ...prompt.whole[i], here, 0];
    const [low, high] = [Math.min(...all), Math.max(...all)];
    const x = value => left + (value / limit + 1) / 2 * (right - left);
    const y = value => bottom - (value - low) / (high - low || 1) * (bottom - top);
    function line(points, colour, thick, dashes = []) {
      pen.beginPath();
      points.forEach(([a, b]) => pen.lineTo(a, b));
      Object.assign(pen, { strokeStyle: colour, lineWidth: thick });
      pen.setLineDash(dashes);
      pen.stroke();
      pen.setLineDash([]);
    }
    function dot(a, b, radius) {
      pen.beginPath();
      pen.arc(a, b, radius, 0, 7);
    }
    function write(text, a, b, align) {
      pen.textAlign = align;
      pen.fillText(text, a, b);
    }
    line([[left, top], [left, bottom], [right, bottom]], "#8a8a8a", 1);
    line([[left, y(0)], [right, y(0)]], "#8a8a8a", 1, [4, 3]);
    line([[x(prompt.natural[i]), top], [x(prompt.natural[i]), bottom]], INK[theme], 1, [2, 4]);
    line(fine.map((value, n) => [x(value), y(curve[n])]), BLUE[theme], 2.5);
    pen.fillStyle = INK[theme];
    data.grid.forEach((step, n) => {
      dot(x(step * limit), y(prompt.whole[i][n]), 3.5);
      pen.fill();
    });
    dot(x(state.values[i]), y(here), 7);
    Object.assign(pen, { strokeStyle: ORANGE[theme], lineWidth: 3, font: "12px system-ui, sans-serif" });
    pen.stroke();
    write(shown(-limit, 0), left, bottom + 16, "left");
    write(shown(0, 0), x(0), bottom + 16, "center");
    write(shown(limit, 0), right, bottom + 16, "right");
    [low, high, 0].forEach((value, n) => {
      const free = n < 2 || Math.min(y(0) - y(high), y(low) - y(0)) > 14; // not over the ends
      if (free) write(shown(value, n < 2 ? 1 : 0), left - 6, y(value) + 4, "right");
    });
    write(`coordinate ${data.components[i]} (dotted: the model's own)`, (left + right) / 2, bottom + 34, "center");
    write(`logit ${data.names[0]} − ${data.names[1]}`, 2, 14, "left");
    return here;
  }

  return theme => {
    const prompt = data.prompts[state.prompt];
    const change = state.values.map((value, i) => value - prompt.natural[i]);
    const looks = attention(prompt.heads[state.head], change);
    tokens.replaceChildren();
    prompt.tokens.forEach((token, t) => {
      const mark = prompt.marks.indexOf(t);
      const node = add(tokens, "span", "", { class: "th-token", role: "listitem" });
      shade(node, looks[t], theme);
      if (mark >= 0) node.style.borderColor = (mark ? ORANGE : BLUE)[theme];
      add(node, "span", token.trim() || "␣");
      add(node, "small", looks[t] >= 0.005 ? `${Math.round(looks[t] * 100)}%` : "");
    });
    outputs.forEach((output, i) => { output.textContent = shown(state.values[i], 1); });
    const here = drawChart(prompt, theme);
    const seen = prompt.marks.map((t, i) => (t < 0 ? "" :
      `${Math.round(looks[t] * 100)}% at ${prompt.words[i]} (the ${data.names[i]})`)).filter(Boolean).join(" and ");
    words.textContent = (seen ? `Head ${data.heads[state.head]} looks ${seen}. ` : "") + `${here >= 0 ? prompt.words[0] : prompt.words[1]} leads ` +
      `by a logit difference of ${shown(Math.abs(here), 1)}.`;
    figure.dataset.attention = looks.map(share => share.toFixed(5)).join(" ");
    figure.dataset.lead = here.toFixed(5);
  };
});
