// Where the tokens of a prompt look, by head. Follows live.js.
const STYLE = `
  .th-attention-viewer button[aria-pressed=true] { border-width: 2px; font-weight: 600 }
  .th-attention-viewer .th-token { flex-direction: column; gap: 0; padding: 2px 5px }
  .th-attention-viewer .th-token small { font-size: 11px; min-height: 1.3em }
  .th-attention-viewer .th-token[aria-pressed=true] { border-color: #d55e00; border-width: 3px }
  .th-attention-viewer p { margin: 6px 0 }`;

enliven("attention-viewer", STYLE, (figure, { heads, tokens, steps }, paint) => {
  const patterns = heads.map(head => Uint8Array.from(atob(head.pattern), letter => letter.charCodeAt(0)));
  const size = tokens.length;
  const state = { head: 0, token: size - 1 };
  choice(figure, "Head", heads.map(head => head.name), i => {
    state.head = i;
    paint();
  });
  const row = add(figure, "div", "", { role: "group", "aria-label": "The token that looks" });
  const buttons = tokens.map((token, t) => {
    const button = add(row, "button", "", { type: "button", class: "th-token", "aria-pressed": String(t === state.token) });
    add(button, "span", token.trim() || "␣");
    add(button, "small");
    button.onclick = () => {
      state.token = t;
      paint();
    };
    return button;
  });
  const words = add(figure, "p", "", { "aria-live": "polite" });
  add(figure, "small", "Choose a head, and the token that looks (framed). The darker a token, the more it is looked at.");

  return theme => {
    const looks = Array.from({ length: size }, (_, t) => patterns[state.head][state.token * size + t] / steps);
    buttons.forEach((button, t) => {
      button.setAttribute("aria-pressed", String(t === state.token));
      shade(button, looks[t], theme);
      button.lastChild.textContent = looks[t] >= 0.005 ? `${Math.round(looks[t] * 100)}%` : "";
    });
    const first = looks.map((share, t) => [share, t]).sort((a, b) => b[0] - a[0]).slice(0, 3).filter(([share]) => share > 0.02);
    words.textContent = `Head ${heads[state.head].name} looks from “${tokens[state.token].trim()}” ` +
      `${first.map(([share, t]) => `${Math.round(share * 100)}% at “${tokens[t].trim()}” (token ${t})`).join(", ")}.`;
    figure.dataset.looks = looks.map(share => share.toFixed(3)).join(" ");
  };
});
