// One card per component: its activation at the last token, and what the reader makes of it.
const MODES = [["off", "as it is"], ["set", "set"], ["scale", "times"]];
const FACTOR = 3; // the slider of "times" goes from −3 to 3

function nice(value) { // the next of 10, 20, 30 ... 100, 150 ...
  const step = value > 100 ? 50 : 10;
  return Math.max(20, Math.ceil(value / step) * step);
}

// The book's sign for a channel: a round dial whose needle is the coordinate; the short mark is the prompt's own value.
function dialFace(parent) {
  const svg = drawn(parent, "svg", { class: "lab-face", viewBox: "-24 -24 48 48", "aria-hidden": "true" });
  drawn(svg, "path", { d: "M-24,-3 H24 M-24,3 H24" });
  drawn(svg, "circle", { r: 18 });
  const [own, needle] = [drawn(svg, "path", { d: "M0,-18 V-12" }), drawn(svg, "path", { d: "M0,4 V-15", class: "lab-needle" })];
  return (value, usual, reach) => [[needle, value], [own, usual]].forEach(([mark, x]) =>
    mark.setAttribute("transform", `rotate(${135 * Math.min(1, Math.max(-1, x / reach))})`));
}

// `changed(change)` is called with new settings, `removed()` by the cross; `live`: any value can be answered, not only the
// stored ones. Returns `show(dial, state)`.
function dialCard(parent, first, channel, limit, live, changed, removed) {
  const name = nameOf(first);
  let state = { own: 0 }, reach = limit, mode = first.mode; // `reach`: the slider goes from −reach to it
  const card = add(parent, "div", "", { class: "lab-dial", role: "group", "aria-label": name });
  const top = add(card, "div", "", { class: "lab-top" });
  const face = dialFace(top);
  const says = add(top, "p");
  add(says, "span", name, { class: "lab-chip lab-message" });
  says.append(" ");
  add(says, "span", channel ? channel.says : `component ${first.k} of head ${headOf(first)}`, { class: "lab-says" });
  const share = add(says, "span", "", { class: "lab-says" });
  if (removed) button(top, "×", removed, { class: "lab-cross", "aria-label": `Remove the dial ${name}` });

  const turn = part => { // at once: what is typed next may come before the answer does
    mode = part.mode;
    changed(part);
  };
  const modes = add(card, "div", "", { class: "lab-modes", role: "group", "aria-label": `What is done to ${name}` });
  const choices = MODES.map(([mode, text]) => button(modes, text, () => {
    if (mode === "set") turn({ mode, value: state.now ?? state.own });
    else if (mode === "scale") turn({ mode, value: 1 });
    else turn({ mode: "off", value: 0 });
  }, { "data-mode": mode }));
  button(modes, "zero", () => turn({ mode: "set", value: 0 }));
  button(modes, "reverse", () => turn({ mode: "scale", value: -1 }));

  const track = add(card, "div", "", { class: "lab-track" });
  const bands = (channel?.natural || []).map(([low, , high], i) => {
    const band = add(track, "span", "", { class: "lab-band", title: `95% of unedited prompts of order ${"AB"[i]}` });
    place(band, low, high);
    return band;
  });
  const own = add(track, "span", "", { class: "lab-own" });
  const slider = add(track, "input", "", { type: "range", "aria-label": `Activation of ${name}` });
  const ends = add(card, "div", "", { class: "lab-ends" });
  const [low, high] = [add(ends, "span"), add(ends, "span")];
  const reading = add(add(card, "div", "", { class: "lab-line lab-reading" }), "label", "c = ");
  const number = add(reading, "input", "", { type: "number", step: "any", "aria-label": `Activation of ${name}, as a number` });
  const note = add(reading.parentElement, "span", "", { class: "lab-note" });

  function place(mark, from, to = from) {
    const at = value => Math.min(1, Math.max(0, (value / reach + 1) / 2)) * 100;
    mark.style.left = `${at(from)}%`;
    mark.style.width = `${at(to) - at(from)}%`;
  }
  const moved = value => turn({ mode: mode === "scale" ? "scale" : "set", value });
  slider.oninput = () => moved(Number(slider.value));
  number.onchange = () => { if (number.value !== "" && Number.isFinite(number.valueAsNumber)) moved(number.valueAsNumber); };

  return (dial, given) => {
    state = given;
    mode = dial.mode;
    const scales = mode === "scale";
    const value = mode === "off" ? state.own : dial.value;
    reach = scales ? Math.max(FACTOR, Math.ceil(Math.abs(value))) : Math.max(reach === FACTOR ? limit : reach, limit, nice(Math.abs(value)));
    Object.assign(slider, { min: -reach, max: reach, step: scales ? 0.05 : live ? "any" : 5 });
    slider.value = value;
    if (document.activeElement !== number) number.value = Number(value.toFixed(2));
    reading.firstChild.textContent = scales ? "c × " : "c = ";
    choices.forEach(one => one.setAttribute("aria-pressed", String(one.dataset.mode === mode)));
    const worded = channel?.ends && !scales;
    low.textContent = worded ? `← look ${channel.ends[0]}` : signed(-reach, 0);
    high.textContent = worded ? `look ${channel.ends[1]} →` : signed(reach, 0);
    slider.setAttribute("aria-valuetext", scales ? `${signed(value, 2)} times its own` :
      `${signed(value)}${worded ? `, to look ${channel.ends[value < 0 ? 0 : 1]}` : ""}`);
    track.toggleAttribute("data-hatched", Boolean(channel) && !scales);
    bands.forEach((band, i) => {
      band.hidden = scales;
      if (!scales) place(band, channel.natural[i][0], channel.natural[i][2]);
    });
    place(own, scales ? 1 : state.own);
    face(scales ? value : state.now ?? state.own, scales ? 1 : state.own, reach);
    share.textContent = state.share === undefined ? "" : ` · ${whole(state.share)} of what the head can write`;
    const came = state.came ?? state.own;
    note.textContent = `The model’s own: ${signed(state.own)}` +
      (mode !== "off" && Math.abs(came - state.own) > 0.05 ? `; after the dials before it: ${signed(came)}` : "") +
      (mode === "off" ? "." : `; now ${signed(state.now ?? came)}.`) + beyond(state.now);
    card.dataset.own = state.own;
  };

  function beyond(now) {
    if (!channel || now === undefined) return "";
    const inside = channel.natural.some(([low, , high]) => now >= low && now <= high);
    return inside ? "" : " Unedited prompts with two names are rarely there.";
  }
}
