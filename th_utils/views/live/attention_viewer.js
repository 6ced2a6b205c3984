// Where the tokens of a prompt look, by head; whole patterns are drawn by circuitsvis, on demand. Follows live.js.
const STYLE = `
  .th-attention-viewer .th-scene { position: relative; gap: 30px 4px; margin: 0; padding-top: 96px }
  .th-attention-viewer .th-scene[data-wrapped] { padding-top: 40px }
  .th-attention-viewer .th-scene svg { position: absolute; inset: 0; width: 100%; height: 100%; pointer-events: none }
  .th-attention-viewer .th-token { position: relative; flex-direction: column; gap: 0; min-width: 38px; padding: 2px 5px;
    border-color: var(--th-line); background: var(--th-paper) }
  .th-attention-viewer .th-token small { font-size: 12px; min-height: 1.3em; color: var(--th-looks) }
  .th-attention-viewer .th-token[aria-pressed=true] { border-color: var(--th-looks); border-width: 3px }
  .th-attention-viewer .th-light { display: block; margin: 0; overflow-x: auto; padding: 4px; color-scheme: light;
    color: var(--th-ink); background: var(--th-paper) } /* the library lays itself out, on white */
  .th-attention-viewer .th-light[hidden] { display: none }
  .th-attention-viewer .th-light div { display: block; margin: 0 }
  .th-attention-viewer .th-light h3 { font-size: 13px; color: inherit }
  .th-attention-viewer .th-light h4 { font-size: 13px; color: var(--th-paper) !important; background: var(--th-ink) !important }
  .th-attention-viewer .th-light [role=button] { cursor: pointer }`;

// One copy of the library for all figures of a page.
function library(source) {
  if (window.CircuitsVis) return Promise.resolve();
  window.thCircuitsVis ??= new Promise((done, failed) => {
    const root = document.documentElement.dataset.content_root || "";
    const script = add(document.head, "script", "", { src: root + source });
    script.onload = done;
    script.onerror = () => {
      delete window.thCircuitsVis; // so that the next press tries again
      failed(new Error(`${source} is not in this book`));
    };
  });
  return window.thCircuitsVis;
}

// What the library leaves out: names for its drawings, and keys for what it gives to the mouse.
function complete(place) {
  place.querySelectorAll("canvas:not([aria-label])").forEach(canvas => {
    canvas.setAttribute("aria-label", "attention pattern: a row for each token that looks");
  });
  place.querySelectorAll("h4").forEach(badge => {
    const button = badge.parentElement;
    if (button.tabIndex === 0 || !button.querySelector("canvas")) return;
    Object.entries({ role: "button", tabindex: 0, "aria-label": `show head ${badge.textContent}` })
      .forEach(([name, value]) => button.setAttribute(name, value));
    button.onkeydown = event => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      button.click();
    };
  });
}

enliven("attention-viewer", STYLE, (figure, { heads, tokens, steps, start, role, source }, paint) => {
  const patterns = heads.map(head => Uint8Array.from(atob(head.pattern), letter => letter.charCodeAt(0)));
  const size = tokens.length;
  const state = { head: 0, token: start };
  figure.style.setProperty("--th-looks", `var(--th-${role})`);
  choice(figure, "Head", heads.map(head => head.name), i => {
    state.head = i;
    paint();
  });
  const scene = add(figure, "div", "", { class: "th-scene", role: "group", "aria-label": "The token that looks" });
  const arcs = draw(scene, "svg", { "aria-hidden": "true" });
  const buttons = tokens.map((token, t) => {
    const button = add(scene, "button", "", { type: "button", class: "th-token", "aria-pressed": String(t === state.token) });
    add(button, "span", token.trim() || "␣");
    add(button, "small");
    button.onclick = () => {
      state.token = t;
      paint();
    };
    return button;
  });
  const words = add(figure, "p", "", { "aria-live": "polite" });
  add(figure, "small", "Choose a head, and the token that looks (framed). The wider a ribbon, the more a token is looked at.");
  if (source !== null) {
    const place = add(figure, "div", "", { class: "th-light", id: `patterns-${crypto.getRandomValues(new Uint32Array(1))[0]}` });
    new MutationObserver(() => complete(place)).observe(place, { childList: true, subtree: true });
    const attention = patterns.map(levels => tokens.map((_, q) => tokens.map((_, k) => levels[q * size + k] / steps)));
    const open = () => library(source).then(() => {
      if (button.ariaExpanded === "true") CircuitsVis.render(place.id, CircuitsVis.AttentionHeads,
        { attention, attentionHeadNames: heads.map(head => head.name), tokens });
      place.hidden = false;
    });
    place.hidden = true;
    const button = toggle(figure, "Whole patterns, in circuitsvis", turned => {
      place.hidden = true;
      place.replaceChildren();
      if (turned) open();
    });
    figure.append(place);
  }

  const wrapped = () => buttons[size - 1].offsetTop - buttons[0].offsetTop > 20;

  // From the middle of one button's edge to the other's; both stand in lines that may wrap.
  function ribbon(from, to, share) {
    const [x1, x2] = [from, to].map(one => one.offsetLeft + one.offsetWidth / 2);
    const [y1, y2] = [from.offsetTop, to.offsetTop];
    const below = y2 + to.offsetHeight; // the edge of one in a line above
    const rise = Math.min(wrapped() ? 44 : 120, 40 + Math.abs(x1 - x2) / 4);
    const path = from === to ? `M${x1 - 9} ${y1}C${x1 - 44} ${y1 - 48} ${x1 + 44} ${y1 - 48} ${x1 + 9} ${y1}`
      : y2 < y1 ? `M${x1} ${y1}C${x1} ${y1 - 34} ${x2} ${below + 34} ${x2} ${below}`
      : `M${x1} ${y1}C${x1} ${y1 - rise} ${x2} ${y2 - rise} ${x2} ${y2}`;
    draw(arcs, "path", { d: path, fill: "none", stroke: "var(--th-looks)", "stroke-width": Math.max(1, share * 22), "stroke-opacity": 0.7 });
  }

  return () => {
    const looks = Array.from({ length: size }, (_, t) => patterns[state.head][state.token * size + t] / steps);
    buttons.forEach((button, t) => {
      button.setAttribute("aria-pressed", String(t === state.token));
      button.lastChild.textContent = looks[t] >= 0.005 ? `${Math.round(looks[t] * 100)}%` : "";
    });
    arcs.replaceChildren();
    scene.toggleAttribute("data-wrapped", wrapped());
    looks.forEach((share, t) => { if (share >= 0.015) ribbon(buttons[state.token], buttons[t], share); });
    const first = looks.map((share, t) => [share, t]).sort((a, b) => b[0] - a[0]).slice(0, 3).filter(([share]) => share > 0.02);
    words.textContent = `Head ${heads[state.head].name} looks from “${tokens[state.token].trim()}” ` +
      `${first.map(([share, t]) => `${Math.round(share * 100)}% at “${tokens[t].trim()}” (token ${t})`).join(", ")}.`;
    figure.dataset.looks = looks.map(share => share.toFixed(3)).join(" ");
  };
});
