// Every head of the model as a dot: how much of its attention from the last token went elsewhere. Picks heads to look at.
const CELL = 20, MARGIN = 26;

function board(parent, roles, picked) {
  const box = { viewBox: `0 0 ${LAYERS * CELL + MARGIN} ${HEADS * CELL + MARGIN}` };
  const svg = drawn(parent, "svg", { ...box, class: "lab-board", tabindex: 0, role: "application" });
  const at = (layer, head) => [MARGIN + (layer + 0.5) * CELL, (head + 0.5) * CELL];
  const write = (x, y, text, anchor) => { drawn(svg, "text", { x, y, "text-anchor": anchor }).textContent = text; };
  for (let head = 0; head < HEADS; head++) {
    drawn(svg, "line", { x1: MARGIN, x2: MARGIN + LAYERS * CELL, y1: at(0, head)[1], y2: at(0, head)[1] });
    if (head % 2 === 0) write(MARGIN - 8, at(0, head)[1] + 4, head, "end");
  }
  for (let layer = 0; layer < LAYERS; layer += 5) write(at(layer, 0)[0], HEADS * CELL + 18, layer, "middle");
  write(MARGIN + LAYERS * CELL, HEADS * CELL + 18, "layer →", "end");
  const dots = Array.from({ length: LAYERS }, (_, layer) => Array.from({ length: HEADS }, (_, head) => {
    const [cx, cy] = at(layer, head);
    return drawn(svg, "circle", { cx, cy, r: 1, "data-role": roles[headOf({ layer, head })] || "" });
  }));
  const ring = drawn(svg, "rect", { width: CELL, height: CELL, rx: 3, class: "lab-ring" });
  const words = add(parent, "p", "", { class: "lab-note", "aria-live": "polite" });
  let here = [Math.min(23, LAYERS - 1), 0], answer, turned = false;

  function point(layer, head) {
    here = [Math.min(LAYERS - 1, Math.max(0, layer)), Math.min(HEADS - 1, Math.max(0, head))];
    const [x, y] = at(...here);
    Object.entries({ x: x - CELL / 2, y: y - CELL / 2 }).forEach(([name, value]) => ring.setAttribute(name, value));
    const name = headOf({ layer: here[0], head: here[1] });
    const amount = answer?.moved ? `: ${whole(answer.moved(...here))} of its attention ` +
      (turned ? "went elsewhere" : "is on the text, the rest on the first token") : "";
    words.textContent = `Head ${name}${roles[name] ? ` (${roles[name]})` : ""}${amount}. Enter or a click shows it.`;
  }
  svg.setAttribute("aria-label", "All heads of the model: layers across, heads down. Arrow keys move, Enter shows a head.");
  svg.onkeydown = event => {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (step) point(here[0] + step[0], here[1] + step[1]);
    else if (event.key === "Enter" || event.key === " ") picked(headOf({ layer: here[0], head: here[1] }));
    else return;
    event.preventDefault();
    event.stopPropagation(); // the theme turns pages with the arrow keys
  };
  function nearest(event) {
    const frame = svg.getBoundingClientRect();
    const scale = (LAYERS * CELL + MARGIN) / frame.width;
    point(Math.floor(((event.clientX - frame.left) * scale - MARGIN) / CELL), Math.floor((event.clientY - frame.top) * scale / CELL));
  }
  svg.onpointermove = event => { if (event.pointerType === "mouse") nearest(event); };
  svg.onclick = event => {
    nearest(event);
    picked(headOf({ layer: here[0], head: here[1] }));
  };

  return (given, heads) => {
    [answer, turned] = [given, given.turned];
    dots.forEach((column, layer) => column.forEach((dot, head) => {
      const amount = answer.moved(layer, head);
      dot.setAttribute("r", (1 + 8.5 * Math.sqrt(Math.min(1, amount))).toFixed(2));
      dot.toggleAttribute("data-shown", heads.includes(headOf({ layer, head })));
    }));
    point(...here);
  };
}
