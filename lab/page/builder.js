// Builds a Laundry List: things in a list, ticked off by pressing them; what is left is what the model should say.
const LEAST_ITEMS = 2, MOST_ITEMS = 10;

// `built(prompt, items)` is called whenever the list changes.
function builder(parent, { frames, items: known }, built) {
  const box = add(parent, "details", "", { class: "lab-builder" });
  add(box, "summary", "Build a Laundry List");
  const list = { frame: "buy", who: "Ana", items: ["lamp", "rope", "coin"], ticked: [2, 0] };
  const line = add(box, "div", "", { class: "lab-line" });
  const frame = add(add(line, "label", "Words "), "select");
  Object.entries(frames).forEach(([name, { ask }]) => add(frame, "option", ask.replace("{who}", "…"), { value: name }));
  const who = add(add(line, "label", "Who "), "input", "", { size: 8, maxlength: 20, value: list.who });
  const size = add(add(line, "label", "Things "), "input", "",
    { type: "number", min: LEAST_ITEMS, max: MOST_ITEMS, value: list.items.length });
  const sheet = add(box, "ol", "", { class: "lab-list" });
  const foot = add(box, "div", "", { class: "lab-line" });
  button(foot, "Other things", () => renew(lots(known, list.items.length)));
  button(foot, "Tick all but one", () => {
    list.ticked = lots(list.items.map((_, i) => i), list.items.length - 1);
    show();
  });
  button(foot, "Tick none", () => {
    list.ticked = [];
    show();
  });
  const left = add(box, "p", "", { class: "lab-note", "aria-live": "polite" });

  function renew(items) {
    const ticked = lots(items.map((_, i) => i), items.length - 1);
    Object.assign(list, { items, ticked });
    show();
  }
  frame.onchange = () => {
    list.frame = frame.value;
    show();
  };
  who.onchange = () => {
    list.who = who.value.trim() || "Ana";
    show();
  };
  size.onchange = () => {
    const n = Math.min(MOST_ITEMS, Math.max(LEAST_ITEMS, Math.round(size.valueAsNumber) || LEAST_ITEMS));
    size.value = n;
    const more = lots(known.filter(item => !list.items.includes(item)), Math.max(0, n - list.items.length));
    renew([...list.items.slice(0, n), ...more]);
  };

  function show(tell = true) {
    const { items, ticked } = list;
    sheet.replaceChildren();
    items.forEach((item, i) => {
      const row = add(sheet, "li");
      const order = ticked.indexOf(i);
      button(row, order < 0 ? "☐" : "☑", () => {
        list.ticked = order < 0 ? [...ticked, i] : ticked.filter(one => one !== i);
        show();
        sheet.children[i].firstChild.focus();
      }, { "aria-pressed": String(order >= 0), "aria-label": `${item} ticked off` });
      const word = add(row, "input", "", { value: item, maxlength: 30, "aria-label": `Thing ${i + 1}` });
      word.onchange = () => {
        list.items[i] = word.value.trim() || item;
        show();
      };
      row.toggleAttribute("data-ticked", order >= 0);
      add(row, "small", order < 0 ? "" : `ticked ${order + 1}`);
    });
    const open = items.filter((_, i) => !ticked.includes(i));
    left.textContent = open.length === 1 ? `Left over, so right: ${open[0]}.` :
      `${open.length || "No"} things are left: with one left, there is a right answer.`;
    if (tell) built(laundryPrompt(frames[list.frame], list.who, items, ticked), [...items]);
  }
  box.addEventListener("toggle", () => { if (box.open) show(); });
  show(false);
  return box;
}
