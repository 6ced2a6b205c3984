// Head chips: pointed at, tapped or in focus, a chip shows what its head does and in which chapters it appears.
document.addEventListener("DOMContentLoaded", () => {
  const chips = [...document.querySelectorAll(".th-head")];
  if (!chips.length || !window.thHeads) return;
  const { heads, titles } = thHeads;
  const root = document.documentElement.dataset.content_root;
  const card = Object.assign(document.createElement("div"), { id: "th-head-card", hidden: true });
  card.setAttribute("role", "tooltip");
  document.body.append(card);

  function add(parent, name, text) {
    return parent.appendChild(Object.assign(document.createElement(name), { textContent: text }));
  }

  let leaving;
  const hide = () => (card.hidden = true);
  const hideSoon = () => (leaving = setTimeout(hide, 250)); // time to reach the links
  function show(chip) {
    const id = chip.textContent;
    const [role, job, pages] = heads[id];
    clearTimeout(leaving);
    card.replaceChildren();
    const [layer, head, part] = id.split(".");
    const name = part === undefined ? `Head ${id}` : `Component ${part} of head ${layer}.${head}`;
    add(card, "strong", role ? `${name}: ${role}` : name);
    add(card, "p", job || `Layer ${layer}, head ${head}, counted from 0.`);
    const where = add(card, "p", "In chapters ");
    pages.forEach((page, i) => {
      if (i) where.append(", ");
      const number = page.split("/").pop().slice(0, 2);
      Object.assign(add(where, "a", number), { href: `${root}${page}.html`, title: titles[page] });
    });
    card.hidden = false;
    const at = chip.getBoundingClientRect();
    const below = at.bottom + card.offsetHeight + 8 < innerHeight;
    card.style.left = `${scrollX + Math.max(8, Math.min(at.left, document.documentElement.clientWidth - card.offsetWidth - 8))}px`;
    card.style.top = `${scrollY + (below ? at.bottom + 4 : at.top - card.offsetHeight - 4)}px`;
  }

  // One stop of the Tab key for each head on the page; the mouse and a finger reach all.
  const seen = new Set();
  for (const chip of chips) {
    if (!heads[chip.textContent]) continue;
    if (!seen.has(chip.textContent)) {
      seen.add(chip.textContent);
      Object.assign(chip, { tabIndex: 0, onfocus: () => show(chip), onblur: hideSoon });
      chip.setAttribute("role", "button");
      chip.setAttribute("aria-describedby", card.id);
    }
    Object.assign(chip, { onmouseenter: () => show(chip), onmouseleave: hideSoon, onclick: () => show(chip) });
  }
  Object.assign(card, { onmouseenter: () => clearTimeout(leaving), onmouseleave: hideSoon });
  card.addEventListener("focusin", () => clearTimeout(leaving));
  addEventListener("keydown", event => event.key === "Escape" && hide());
  addEventListener("pointerdown", event => event.target.closest(".th-head, #th-head-card") || hide());
});
