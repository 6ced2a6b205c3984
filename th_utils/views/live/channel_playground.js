// The channel playground (channel_playground.py says what is shipped). Follows live.js.
const STYLE = `
  .th-channel-playground[data-live] { padding: 4px 8px; background: none }
  .th-channel-playground > strong { font-size: 22px; line-height: 1.2; letter-spacing: -.01em }
  .th-channel-playground > p { margin: 2px 0 }
  .th-channel-playground svg { display: block; width: 100%; overflow: visible }
  .th-channel-playground svg text { font: 600 13px system-ui, sans-serif; fill: var(--th-ink) }
  .th-channel-playground svg text.th-fine { font-weight: 400; font-size: 11px }
  .th-channel-playground .th-halo { stroke: var(--th-paper); stroke-width: 4px; paint-order: stroke }
  .th-channel-playground button { min-width: 44px; min-height: 44px; padding: 2px 5px }
  .th-channel-playground .th-io { color: var(--th-io); font-weight: 700 }
  .th-channel-playground .th-s { color: var(--th-s); font-weight: 700 }
  .th-channel-playground .th-mover { color: var(--th-mover); font-weight: 700 }
  .th-channel-playground .th-dial { display: grid; grid-template-columns: auto minmax(0, 1fr) auto; margin: 0; gap: 0 10px;
    color: var(--th-message); font-weight: 600 }
  .th-channel-playground .th-dial input { width: 100%; min-height: 44px; margin: 0; accent-color: var(--th-message);
    cursor: grab; touch-action: pan-y }
  .th-channel-playground .th-dial svg { grid-column: 2; height: 30px; margin-top: -10px }
  .th-channel-playground .th-answer { justify-content: space-between; flex-wrap: nowrap; font-size: 16px; margin: 2px 0 }
  .th-channel-playground .th-answer span { white-space: nowrap }
  .th-channel-playground .th-answer small { font-size: 12px; text-align: center }
  .th-channel-playground .th-bar { height: 20px; gap: 0; margin: 0; flex-wrap: nowrap; border-radius: 4px; overflow: hidden }
  .th-channel-playground .th-bar span { height: 100% }
  .th-channel-playground .th-sentence { font-size: 16px; min-height: 1.4em }
  .th-channel-playground[data-step="1"] :is(.th-tells, .th-looks, .th-answers),
  .th-channel-playground[data-step="2"] :is(.th-looks, .th-answers),
  .th-channel-playground[data-step="3"] .th-answers { visibility: hidden }
  .th-channel-playground .th-controls { gap: 4px 14px; margin: 2px 0 }
  .th-channel-playground .th-controls div { margin: 0; gap: 4px }
  .th-channel-playground .th-curve { height: 210px; touch-action: pan-y; cursor: ew-resize }
  @media (min-width: 561px) {
    .th-channel-playground[data-live] { position: relative }
    .th-channel-playground .th-next { position: absolute; right: 8px; top: 4px }
    .th-channel-playground > strong, .th-channel-playground > p:not(.th-sentence) { padding-right: 130px }
  }
  @media (max-width: 560px) {
    .th-channel-playground .th-dial { grid-template-columns: auto auto; font-size: 13px }
    .th-channel-playground .th-dial span:last-of-type { grid-row: 1; grid-column: 2; text-align: right }
    .th-channel-playground .th-dial input, .th-channel-playground .th-dial svg { grid-column: 1 / 3 }
    .th-channel-playground[data-live] { padding: 2px 0 }
    .th-channel-playground > strong { font-size: 18px }
    .th-channel-playground > p { font-size: 13px; line-height: 1.3 }
    .th-channel-playground .th-sentence { font-size: 15px; min-height: 2.6em } /* so that nothing below jumps */
  }`;

const percent = share => `${Math.round(share * 100)}%`;

// Between the settings at which the model was run: the one below and how far on to the next.
function between(grid, share) {
  const at = clamp((share - grid[0]) / (grid[grid.length - 1] - grid[0]), 0, 1) * (grid.length - 1);
  const low = Math.min(Math.floor(at), grid.length - 2);
  return (values, step = 1, first = 0) => {
    const one = values[first + low * step];
    return one + (values[first + (low + 1) * step] - one) * (at - low);
  };
}

enliven("channel-playground", STYLE, (figure, data, paint) => {
  const bytes = text => Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
  data.prompts.forEach(prompt => prompt.curves.forEach(curve => { curve.looks = bytes(curve.looks); }));
  const state = { prompt: 0, head: 0, axis: 0, value: data.prompts[0].natural[0], step: 0 };
  const pen = document.createElement("canvas").getContext("2d"); // measures words
  const axis = () => data.axes[state.axis];
  const side = () => (axis().turned ? -1 : 1); // so that the left end always means the name that stands first
  const own = () => data.prompts[state.prompt].natural[state.axis];
  const isFirst = prompt => prompt.marks[0] < prompt.marks[1]; // the right name

  function set(value) {
    state.value = clamp(value, -axis().limit, axis().limit);
    slider.value = state.value * side();
    paint();
  }
  function show(change) {
    Object.assign(state, { step: 0 }, change);
    slider.min = -axis().limit;
    slider.max = axis().limit;
    set(own());
  }

  const told = add(figure, "p");
  const guide = add(figure, "p", "", { "aria-live": "polite" });
  const scene = draw(figure, "svg", { role: "img" });
  const dial = add(figure, "div", "", { class: "th-dial th-tells" });
  const ends = [add(dial, "span")];
  const slider = add(dial, "input", "", { type: "range", step: "any", "aria-label": "the message" });
  ends.push(add(dial, "span"));
  const ruler = draw(dial, "svg", { "aria-hidden": "true" });
  const answer = add(figure, "div", "", { class: "th-answer th-answers" });
  const bar = add(figure, "div", "", { class: "th-bar th-answers", "aria-hidden": "true" });
  const sentence = add(figure, "p", "", { class: "th-sentence th-answers", "aria-live": "polite" });
  const controls = add(figure, "div", "", { class: "th-controls" });
  choice(controls, "Sentence", data.prompts.map((_, i) => `${i + 1}`), i => show({ prompt: i }));
  choice(controls, "Head", data.heads, i => show({ head: i }));
  if (data.axes.length > 1) choice(controls, "Message", data.axes.map(({ name }) => name), i => show({ axis: i }));
  const buttons = add(controls, "div");
  const opposite = () => {
    const other = axis().usual[isFirst(data.prompts[state.prompt]) ? 1 : 0];
    set(other ? other[1] : -own());
  };
  add(buttons, "button", "Opposite", { type: "button" }).onclick = opposite;
  add(buttons, "button", "Its own", { type: "button" }).onclick = () => show({});
  const next = add(buttons, "button", "", { type: "button", class: "th-next" });
  next.onclick = () => {
    show({ step: (state.step + 1) % 6 });
    if (state.step === 5) opposite();
  };
  const more = toggle(add(controls, "div"), "Curve", paint);
  const curve = draw(figure, "svg", { class: "th-curve", role: "img" });
  const foot = add(figure, "small", `Shaded: where 95% of ${data.count} unedited prompts lie, one band for each order of the names. ` +
    `Hatched: where none of them goes. The whole model was run at ${data.grid.length} settings; the page draws straight lines in between.`);
  slider.oninput = () => {
    state.value = Number(slider.value) * side();
    paint();
  };
  slider.onfocus = () => { sentence.ariaLive = "off"; }; // the slider then says it itself
  slider.onblur = () => { sentence.ariaLive = "polite"; };
  function drag(event) {
    const box = curve.getBoundingClientRect();
    const share = (event.clientX - box.left - THUMB) / (box.width - 2 * THUMB);
    set((2 * share - 1) * axis().limit * side());
  }
  curve.onpointerdown = event => {
    curve.setPointerCapture(event.pointerId);
    drag(event);
  };
  curve.onpointermove = event => { if (curve.hasPointerCapture(event.pointerId)) drag(event); };
  show({});

  // A place on the ruler or the curve, `width` wide, and the ground both have: natural bands, and hatches beyond.
  const place = (value, width) => THUMB + (value * side() / axis().limit + 1) / 2 * (width - 2 * THUMB);
  function ground(svg, width, top, bottom) {
    const span = (a, b) => [a, b].map(value => place(value, width)).sort((one, two) => one - two);
    draw(svg, "rect", { x: THUMB, width: width - 2 * THUMB, y: top, height: bottom - top, fill: "var(--th-raised)" });
    axis().usual.filter(Boolean).forEach(([low, , high]) => {
      const [from, to] = span(low, high);
      draw(svg, "rect", { x: from, width: to - from, y: top, height: bottom - top, fill: "var(--th-message)", "fill-opacity": 0.28 });
    });
    [span(-axis().limit, axis().known[0]), span(axis().known[1], axis().limit)].forEach(([from, to]) => {
      const tall = bottom - top;
      const lines = [];
      for (let x = from - tall; x < to; x += 7) { // at 45 degrees, cut off at the edges
        const [start, end] = [Math.max(x, from), Math.min(x + tall, to)];
        if (end > start) lines.push(`M${start} ${bottom - (start - x)}L${end} ${bottom - (end - x)}`);
      }
      draw(svg, "path", { d: lines.join(""), stroke: "var(--th-other)", "stroke-opacity": 0.6, fill: "none" });
    });
  }

  function drawRuler() {
    const width = slider.clientWidth;
    ruler.replaceChildren();
    if (!width) return;
    ground(ruler, width, 0, 12);
    const x = place(own(), width);
    draw(ruler, "path", { d: `M${x} 15V-3`, stroke: "var(--th-ink)", "stroke-width": 2 });
    const mine = isFirst(data.prompts[state.prompt]) ? 0 : 1;
    const spots = axis().usual.map(band => band && clamp(place(band[1], width), 56, width - 56));
    const near = spots[0] && spots[1] && Math.abs(spots[0] - spots[1]) < 114;
    [mine, 1 - mine].forEach((i, n) => {
      if (!spots[i] || (near && n)) return;
      const text = near ? "usual" : n ? "usual in the other" : "usual in this order";
      draw(ruler, "text", { x: spots[i], y: 27, "text-anchor": "middle", class: "th-fine" }, text);
    });
  }

  // The tokens with their streams; what the mover looks at; the head that tells it, and the dial between them.
  function drawScene(prompt, looks) {
    const width = scene.clientWidth;
    scene.replaceChildren();
    if (!width) return {};
    const narrow = width < 560;
    const [high, margin, floor, up] = [narrow ? 152 : 158, narrow ? 82 : 92, 20, 24];
    const [ground, teller] = [high - floor, 92];
    scene.setAttribute("viewBox", `0 0 ${width} ${high}`);
    scene.style.height = `${high}px`;
    const names = prompt.tokens.map(token => token.trim() || "␣");
    const end = names.length - 1;
    const role = names.map((name, t) => {
      const found = prompt.marks.findIndex(mark => mark >= 0 && t >= mark && name === names[mark]);
      return ["io", "s"][found];
    });
    const isKey = t => role[t] || t === end;
    const room = width - margin;
    const total = values => values.reduce((sum, value) => sum + value, 0);
    const widths = (size, compact) => {
      pen.font = `600 ${size}px system-ui, sans-serif`;
      return names.map((name, t) => (compact && !isKey(t) ? 5 : pen.measureText(name).width + (role[t] ? size + 5 : 8)));
    };
    // The first of these that fits: all words, smaller words, dots for all but the names and the end.
    const ways = [[13, false], [11.5, false], [13, true], [11, true]];
    const [size, compact] = ways.find(way => total(widths(...way)) <= room) || ways[3];
    const wide = widths(size, compact);
    const spare = (room - total(wide)) / names.length;
    let from = 0;
    const at = wide.map(value => (from += value + spare) - (value + spare) / 2);
    const last = at[end];

    names.forEach((_, t) => draw(scene, "line", { x1: at[t], x2: at[t], y1: ground - 12, y2: t === end ? 6 : isKey(t) ? up : teller + 10,
      stroke: "var(--th-line)", "stroke-width": isKey(t) ? 4 : 1.5 }));
    const ribbons = draw(scene, "g", { class: "th-looks" });
    looks.map((share, t) => [share, t]).filter(([share]) => share >= 0.015).sort((one, two) => one[0] - two[0]).forEach(([share, t]) => {
      if (t !== end) draw(ribbons, "path", { d: `M${at[t]} ${ground - 12}C${at[t]} ${up} ${at[t] + (last - at[t]) * 0.3} ${up} ${last - 12} ${up}`,
        fill: "none", stroke: "var(--th-mover)", "stroke-width": Math.max(1, share * 26), "stroke-opacity": role[t] ? 0.7 : 0.3 });
    });
    names.forEach((name, t) => {
      if (compact && !isKey(t)) draw(scene, "circle", { cx: at[t], cy: high - 10, r: 2, fill: "var(--th-other)" });
      else if (role[t]) {
        const again = !prompt.marks.includes(t); // a double frame
        [0, again ? 3 : 0].forEach(grow => draw(scene, "rect", { x: at[t] - wide[t] / 2 + 3 - grow, width: wide[t] - 6 + 2 * grow,
          y: high - 21 - grow, height: 21 + 2 * grow, rx: 6, fill: grow ? "none" : "var(--th-paper)",
          stroke: `var(--th-${role[t]})`, "stroke-width": grow ? 1 : 2 }));
      }
      if (!compact || isKey(t)) draw(scene, "text", { x: at[t], y: high - 6, "text-anchor": "middle",
        style: `font-size:${size}px` + (role[t] ? `;fill:var(--th-${role[t]})` : "") }, name);
      if (looks[t] >= (prompt.marks.includes(t) ? 0.005 : 0.1)) draw(scene, "text", { x: at[t], y: ground - 16, "text-anchor": "middle",
        class: "th-halo th-looks", style: "fill:var(--th-mover)" }, percent(looks[t]));
    });

    const message = draw(scene, "g", { class: "th-tells" });
    draw(message, "line", { x1: last, x2: last, y1: up, y2: teller, stroke: "var(--th-message)", "stroke-width": 7 });
    [[up, "mover", "looks", data.heads[state.head]], [teller, "message", "tells", axis().name.split(".").slice(0, 2).join(".")]].forEach(([y, color, does, id]) => {
      const paint = { stroke: `var(--th-${color})`, "stroke-width": 2.5 };
      const head = draw(scene, "g", { class: `th-${does}` });
      draw(head, "circle", { cx: last, cy: y, r: 12, fill: "var(--th-paper)", ...paint });
      draw(head, "path", { d: `M${last - 12} ${y}A12 12 0 0 1 ${last + 12} ${y}Z`, fill: `var(--th-${color})` });
      draw(head, "text", { x: last + 22, y: y - 1, style: `fill:var(--th-${color})` }, does);
      draw(head, "text", { x: last + 22, y: y + 13, class: "th-fine" }, `head ${id}`);
    });
    const [middle, angle] = [(up + teller) / 2, state.value * side() / axis().limit * 1.6];
    draw(message, "circle", { cx: last, cy: middle, r: 11, fill: "var(--th-paper)", stroke: "var(--th-message)", "stroke-width": 2.5 });
    draw(message, "line", { x1: last, x2: last + 11 * Math.sin(angle), y1: middle, y2: middle - 11 * Math.cos(angle),
      stroke: "var(--th-message)", "stroke-width": 2.5 });
    scene.setAttribute("aria-label", `Head ${data.heads[state.head]} at the last token looks at ` +
      prompt.marks.filter(t => t >= 0).map(t => `${names[t]}: ${percent(looks[t])}`).join(", ") + ".");
    return { compact, narrow };
  }

  function drawCurve(prompt, found) {
    const open = more.ariaExpanded === "true";
    curve.style.display = foot.style.display = open ? "" : "none";
    const [width, top, bottom] = [curve.clientWidth, 16, 196];
    curve.replaceChildren();
    if (!open || !width) return;
    const { whole, alone } = prompt.curves[state.axis];
    const all = [...whole, ...alone, 0];
    const [low, high] = [Math.min(...all), Math.max(...all)];
    const y = value => bottom - (value - low) / (high - low || 1) * (bottom - top);
    const x = share => place(share * axis().limit, width);
    ground(curve, width, top - 8, bottom + 8);
    draw(curve, "line", { x1: THUMB, x2: width - THUMB, y1: y(0), y2: y(0), stroke: "var(--th-ink)", "stroke-width": 1 });
    draw(curve, "path", { d: `M${place(own(), width)} ${top - 8}V${bottom + 8}`, stroke: "var(--th-ink)", "stroke-dasharray": "2 4" });
    const line = (values, look) => draw(curve, "polyline", { points: values.map((value, i) => `${x(data.grid[i])},${y(value)}`).join(" "), fill: "none", ...look });
    line(alone, { stroke: "var(--th-mover)", "stroke-width": 1.5, "stroke-dasharray": "6 4" });
    line(whole, { stroke: "var(--th-ink)", "stroke-width": 3 });
    // Names stand on their lines where these are furthest apart.
    const apart = alone.map((value, i) => (Math.min(i, whole.length - 1 - i) < whole.length / 5 ? 0 : Math.abs(value - whole[i])));
    const spot = apart.indexOf(Math.max(...apart));
    [[alone, whole, "these heads alone", "mover"], [whole, alone, "the whole model", "ink"]].forEach(([values, rest, text, color]) => {
      if (!values.length) return;
      const above = values[spot] >= (rest.length ? rest[spot] : 0);
      draw(curve, "text", { x: x(data.grid[spot]), y: clamp(y(values[spot]) + (above ? -9 : 18), top + 4, bottom + 4), "text-anchor": "middle",
        class: "th-halo", style: `fill:var(--th-${color})` }, text);
    });
    [[0, high, -6], [1, low, 15]].forEach(([i, edge, shift]) => {
      if (Math.abs(edge) > (high - low) / 8) draw(curve, "text", { x: THUMB + 4, y: y(0) + shift, class: "th-fine th-halo" }, `${prompt.words[i]} is likelier`);
    });
    draw(curve, "circle", { cx: place(state.value, width), cy: y(found), r: 8, fill: "none", stroke: "var(--th-message)", "stroke-width": 3 });
    curve.setAttribute("aria-label", `Logit of ${prompt.words[0]} minus logit of ${prompt.words[1]} in the whole model, from the left end to the right: ` +
      (side() > 0 ? whole : [...whole].reverse()).filter((_, i) => i % 12 === 0).map(value => value.toFixed(1)).join(", ").replaceAll("-", "−") + ".");
  }

  return () => {
    const prompt = data.prompts[state.prompt];
    const { whole, alone, even, looks } = prompt.curves[state.axis];
    const here = between(data.grid, state.value / axis().limit);
    const size = prompt.tokens.length;
    const start = state.head * data.grid.length * size;
    const shares = prompt.tokens.map((_, t) => here(looks, size, start + t) / data.steps);
    const [found, before] = [here(whole), between(data.grid, own() / axis().limit)(whole)];
    const likely = [1 / (1 + Math.exp(-found)), 1 / (1 + Math.exp(found))];
    const order = isFirst(prompt) ? [0, 1] : [1, 0];

    const { compact, narrow } = drawScene(prompt, shares);
    told.replaceChildren();
    if (compact) {
      add(told, "span", `“${prompt.tokens.slice(1).join("").trim()} …” `, { style: "font-style:italic" });
    }
    add(told, "span", "The right answer: ");
    add(told, "span", prompt.words[0], { class: "th-io" });
    add(told, "span", `, named once, and ${isFirst(prompt) ? "first" : "second"}. Drag the purple message.`);
    figure.dataset.step = state.step;
    told.hidden = state.step > 0;
    const seenAt = order.filter(name => prompt.marks[name] >= 0)
      .map(name => `${prompt.words[name]} ${percent(shares[prompt.marks[name]])}`).join(" and ");
    const times = name => prompt.tokens.filter(token => token.trim() === prompt.words[name]).length;
    const [right, wrong] = prompt.words.map((word, name) => `${word} ${["is not named", "is named once", "is named twice"][times(name)] || "recurs"}`);
    const steps = ["", `The sentence: ${right}, ${wrong}. The right answer is ${prompt.words[0]}.`,
      `Head ${axis().name.split(".").slice(0, 2).join(".")} tells: it leaves a message at the last word. The needle shows which.`,
      `Head ${data.heads[state.head]} looks: so told, it gives ${seenAt} of its attention.`,
      "The whole model answers, with all its heads.",
      "Now the opposite message. Where does the head look, and does the answer follow?"];
    const line = state.step ? `${state.step} of 5. ${steps[state.step]}` : "";
    if (guide.textContent !== line) guide.textContent = line;
    next.textContent = state.step === 0 ? "Step by step ▸" : state.step < 5 ? "Next ▸" : "Show all";

    (axis().ends || ["lower", "higher"]).forEach((text, i) => { ends[i].textContent = `“${text}”`; });
    drawRuler();

    answer.replaceChildren();
    bar.replaceChildren();
    order.forEach((name, i) => {
      if (i) add(answer, "small", narrow ? "the whole model" : "the whole model’s answer, of the two");
      add(answer, "span", `${prompt.words[name]} ${percent(likely[name])}`, { class: name ? "th-s" : "th-io" });
      add(bar, "span", "", { style: `width:${likely[name] * 100}%;background:var(--th-${name ? "s" : "io"})` });
    });

    sentence.replaceChildren();
    add(sentence, "span", `Head ${data.heads[state.head]}`, { class: "th-mover" });
    const seen = order.filter(name => prompt.marks[name] >= 0);
    seen.forEach((name, i) => {
      add(sentence, "span", `${i ? " and " : " looks "}${percent(shares[prompt.marks[name]])} at `);
      add(sentence, "span", prompt.words[name], { class: name ? "th-s" : "th-io" });
    });
    if (Math.abs(found) <= even) add(sentence, "span", ". For the whole model the two are about even.");
    else {
      const word = found * before < 0 ? "now prefers" : Math.abs(state.value - own()) > axis().limit / 100 ? "still prefers" : "prefers";
      add(sentence, "span", `. The whole model ${word} `);
      add(sentence, "span", prompt.words[found > 0 ? 0 : 1], { class: found > 0 ? "th-io" : "th-s" });
      add(sentence, "span", ".");
    }
    slider.setAttribute("aria-valuetext", sentence.textContent);
    drawCurve(prompt, found);
    figure.dataset.attention = shares.map(share => share.toFixed(5)).join(" ");
    figure.dataset.lead = found.toFixed(5);
    if (alone.length) figure.dataset.alone = here(alone).toFixed(5);
    figure.dataset.value = state.value.toFixed(5);
  };
});
