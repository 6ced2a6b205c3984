// Where heads look from one token: bars and numbers under every token, and ribbons to those that get a share worth
// drawing. Before the edit hollow or dashed, after it filled.
const DRAWN = 0.03; // shares below this get no ribbon
const RISE = 26; // pixels above the first line of tokens, for ribbons

function looksRow(parent, head, role, removed) {
  const row = add(parent, "section", "", { class: "lab-look", "data-role": role || "", "aria-label": `Attention of head ${head}` });
  const title = add(row, "h4");
  add(title, "span", head, { class: "lab-chip", "data-role": role || "" });
  add(title, "span", role || "", { class: "lab-says" });
  if (removed) button(title, "×", removed, { class: "lab-cross", "aria-label": `Remove head ${head}` });
  const box = add(row, "div", "", { class: "lab-ribbons" });
  const svg = drawn(box, "svg", { "aria-hidden": "true" });
  const list = add(box, "ol", "", { style: `padding-top: ${RISE}px` });
  const nothing = add(row, "p", "Load the model to see this head.", { class: "lab-note" });
  let again = () => {};
  new ResizeObserver(() => again()).observe(list);

  return (tokens, pair, from, turned) => {
    [box.hidden, nothing.hidden] = [!pair, Boolean(pair)];
    if (!pair) return;
    const [before, after] = pair;
    while (list.children.length > tokens.length) list.lastChild.remove();
    tokens.forEach((token, t) => {
      const node = list.children[t] || tokenNode(list);
      const [word, old, now] = node.children;
      const shares = [before[t] ?? 0, after[t] ?? 0];
      word.textContent = seen(token);
      [[old, turned ? shares[0] : 0], [now, shares[1]]].forEach(([line, value]) => {
        line.textContent = value < 0.005 ? "" : whole(value);
      });
      node.toggleAttribute("data-from", t === from);
      node.toggleAttribute("data-unread", t > from);
      node.style.setProperty("--before", turned && shares[0] >= 0.005 ? shares[0] : 0);
      node.style.setProperty("--after", shares[1] >= 0.005 ? shares[1] : 0);
    });
    again = () => ribbons(svg, list, turned ? before : [], after, from);
    again();
    row.dataset.before = before.map(x => x.toFixed(6)).join(" ");
    row.dataset.after = after.map(x => x.toFixed(6)).join(" ");
  };
}

function tokenNode(list) {
  const node = add(list, "li");
  add(node, "span");
  add(node, "small", "", { class: "lab-old" });
  add(node, "small");
  return node;
}

// From the top of the token that looks over its own line, or up to the foot of a token on a line above.
function ribbons(svg, list, before, after, from) {
  svg.replaceChildren();
  const start = list.children[from];
  if (!start) return;
  const middle = node => node.offsetLeft + node.offsetWidth / 2;
  function ribbon(t, attributes) {
    const to = list.children[t];
    const [x, y, u] = [middle(start), start.offsetTop + 3, middle(to)];
    const above = to.offsetTop < start.offsetTop;
    const v = above ? to.offsetTop + to.offsetHeight : y;
    const lift = above || t === from ? 16 : Math.min(RISE * 1.25, 8 + Math.abs(x - u) / 6);
    const apart = t === from ? 8 : 0; // a loop, for a token that looks at itself
    const d = `M${x + apart},${y} C${x + apart},${y - lift} ${u - apart},${above ? v + lift : v - lift} ${u - apart},${v}`;
    drawn(svg, "path", { d, ...attributes });
  }
  before.forEach((look, t) => { if (look >= DRAWN) ribbon(t, { class: "lab-was", "stroke-width": 1.2 + look }); });
  after.forEach((look, t) => { if (look >= DRAWN) ribbon(t, { class: "lab-is", "stroke-width": 1 + 8 * look }); });
}
