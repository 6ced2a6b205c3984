// Draws the points of every <figure class="th-point-cloud"> that is not alive yet, and lets the reader turn them.
// Coordinates are whole numbers: data.steps is half the longest side. Follows live.js.
const START = { yaw: -60, pitch: 20, zoom: 1 }; // the camera of the picture
const TURN = 10; // degrees per key
const STYLE = `
  .th-point-cloud canvas.th-space { display: block; width: 100%; cursor: grab; touch-action: pan-y }
  .th-point-cloud button[aria-pressed=false] { text-decoration: line-through; border-style: dashed }`;
const cross = [[-1, -3], [1, -3], [1, -1], [3, -1], [3, 1], [1, 1], [1, 3], [-1, 3], [-1, 1], [-3, 1], [-3, -1],
  [-1, -1]].map(([x, y]) => [x * 0.4, y * 0.4]);
const SHAPES = {
  s: [[-0.9, -0.9], [0.9, -0.9], [0.9, 0.9], [-0.9, 0.9]],
  "^": [[0, -1.2], [1.1, 0.9], [-1.1, 0.9]],
  v: [[0, 1.2], [1.1, -0.9], [-1.1, -0.9]],
  D: [[0, -1.3], [1.3, 0], [0, 1.3], [-1.3, 0]],
  P: cross,
  X: cross.map(([x, y]) => [(x - y) * 0.7, (x + y) * 0.7]),
};

function mark(pen, shape, x, y, radius) {
  pen.beginPath();
  if (shape === "o") pen.arc(x, y, radius, 0, 7);
  else SHAPES[shape].forEach(([dx, dy]) => pen.lineTo(x + dx * radius, y + dy * radius));
  pen.fill();
}

enliven("point-cloud", STYLE, (figure, data, paint) => {
  const points = data.groups.flatMap(({ points }, group) => Array.from({ length: points.length / 3 }, (_, i) =>
    ({ group, at: points.slice(3 * i, 3 * i + 3).map(value => value / data.steps) })));
  const hidden = data.groups.map(() => false);
  const half = data.axes.map(axis => axis.half);
  const view = { ...START };

  const canvas = add(figure, "canvas", "", { class: "th-space", role: "img", tabindex: 0, "aria-label": data.alt });
  const legend = add(figure, "div", "", { role: "group", "aria-label": "Groups shown" });
  const controls = add(figure, "div", "", { role: "group", "aria-label": "View" });
  add(figure, "small", `Drag, or use the arrow keys, to turn; + and − to zoom. ${data.note}`);

  function change(yaw, pitch, zoom = 1) {
    view.yaw = ((view.yaw + yaw + 540) % 360) - 180;
    view.pitch = Math.min(90, Math.max(-90, view.pitch + pitch));
    view.zoom = Math.min(8, Math.max(0.5, view.zoom * zoom));
    paint();
  }
  function reset() {
    Object.assign(view, START);
    paint();
  }
  const moves = new Map([
    ["ArrowLeft", ["←", "Turn left", () => change(TURN, 0)]],
    ["ArrowRight", ["→", "Turn right", () => change(-TURN, 0)]],
    ["ArrowUp", ["↑", "Tilt up", () => change(0, -TURN)]],
    ["ArrowDown", ["↓", "Tilt down", () => change(0, TURN)]],
    ["+", ["+", "Zoom in", () => change(0, 0, 1.25)]],
    ["-", ["−", "Zoom out", () => change(0, 0, 0.8)]],
    ["0", ["Reset", "Reset the view", reset]],
  ]);
  moves.forEach(([sign, name, move]) => {
    add(controls, "button", sign, { type: "button", "aria-label": name, title: name }).onclick = move;
  });
  const keys = data.groups.map((group, i) => {
    const button = add(legend, "button", "", { type: "button", "aria-pressed": "true" });
    const key = add(button, "canvas", "", { "aria-hidden": "true", style: "width:14px;height:14px;flex:none" });
    add(button, "span", `${group.name} (${group.points.length / 3})`);
    button.onclick = () => {
      hidden[i] = !hidden[i];
      button.setAttribute("aria-pressed", String(!hidden[i]));
      paint();
    };
    return key;
  });

  canvas.onkeydown = event => {
    const move = moves.get({ "=": "+", "_": "-" }[event.key] || event.key);
    if (!move || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    move[2]();
  };
  let last; // where the pointer was; movementX is not the same length in every browser
  canvas.onpointerdown = event => {
    canvas.setPointerCapture(event.pointerId);
    last = event;
  };
  canvas.onpointermove = event => {
    if (!canvas.hasPointerCapture(event.pointerId)) return;
    change((last.clientX - event.clientX) / 2, (event.clientY - last.clientY) / 2);
    last = event;
  };

  return theme => {
    const width = canvas.clientWidth;
    if (!width) return; // in a closed tab; the observer calls again
    const height = Math.round(Math.min(width * 0.9, 480));
    canvas.style.height = `${height}px`;
    const pen = pencil(canvas, width, height);
    const dark = theme === "dark";
    const colours = data.groups.map(({ colour }) => (dark && colour === "#000000" ? "#ffffff" : colour));

    const [cy, sy] = [Math.cos(view.yaw * Math.PI / 180), Math.sin(view.yaw * Math.PI / 180)];
    const [cp, sp] = [Math.cos(view.pitch * Math.PI / 180), Math.sin(view.pitch * Math.PI / 180)];
    // At zoom 1 the ball around the box, seen from 6 half sides away, fits the canvas however it is turned.
    const ball = Math.hypot(...half) || 1;
    const unit = view.zoom * (Math.min(width, height) / 2 - 10) * Math.sqrt(36 - ball * ball) / (6 * ball);
    function project([x, y, z]) {
      const forward = x * cy + y * sy;
      const near = cp * forward + sp * z; // towards the reader
      const k = 6 / (6 - near);
      return { x: width / 2 + unit * k * (y * cy - x * sy), y: height / 2 - unit * k * (cp * z - sp * forward), near, k };
    }

    // The box, and on each axis' lowest edge (the leftmost for the third) its name and ends.
    const signs = [[-1, -1], [-1, 1], [1, 1], [1, -1]];
    pen.strokeStyle = "#8a8a8a";
    pen.lineWidth = 0.7;
    const edges = data.axes.map((_, axis) => signs.map(pair => [-1, 1].map(end => {
      const corner = [...pair];
      corner.splice(axis, 0, end);
      return project(corner.map((sign, i) => sign * half[i]));
    })));
    edges.flat().forEach(([a, b]) => {
      pen.beginPath();
      pen.moveTo(a.x, a.y);
      pen.lineTo(b.x, b.y);
      pen.stroke();
    });

    const visible = points.filter(({ group }) => !hidden[group]).map(({ group, at }) => ({ group, ...project(at) }));
    visible.sort((a, b) => a.near - b.near);
    const radius = Math.min(width / 130, 4) * Math.sqrt(view.zoom);
    for (const { group, x, y, near, k } of visible) {
      pen.globalAlpha = Math.min(1, Math.max(0.5, 0.8 + 0.25 * near)); // farther points are paler
      pen.fillStyle = colours[group];
      mark(pen, data.groups[group].shape, x, y, radius * k);
    }
    pen.globalAlpha = 1;

    pen.font = "12px system-ui, sans-serif";
    pen.textBaseline = "middle";
    pen.textAlign = "center";
    pen.lineWidth = 3;
    pen.strokeStyle = PAPER[theme];
    pen.fillStyle = INK[theme];
    // Beside a point of an edge, on the side away from the middle, at a distance from the line.
    function write(text, [a, b], part, distance) {
      const [dx, dy] = [b.x - a.x, b.y - a.y];
      const length = Math.hypot(dx, dy);
      if (length < 40) return; // the reader looks along this axis
      const [x, y] = [a.x + part * dx, a.y + part * dy];
      const side = (x - width / 2) * -dy + (y - height / 2) * dx < 0 ? -1 : 1;
      const [nx, ny] = [side * -dy / length, side * dx / length];
      const room = pen.measureText(text).width / 2;
      const left = Math.min(width - room - 2, Math.max(room + 2, x + nx * (distance + room)));
      const top = Math.min(height - 8, Math.max(8, y + ny * (distance + 6)));
      pen.strokeText(text, left, top);
      pen.fillText(text, left, top);
    }
    data.axes.forEach((axis, i) => {
      const rank = i < 2 ? ([a, b]) => a.y + b.y : ([a, b]) => -a.x - b.x;
      const edge = edges[i].reduce((best, edge) => (rank(edge) > rank(best) ? edge : best));
      axis.ends.forEach((end, j) => write(end, edge, j ? 0.9 : 0.1, 4));
      write(axis.name, edge, 0.5, i < 2 ? 18 : 6);
    });

    keys.forEach((key, i) => {
      const small = pencil(key, 14, 14);
      small.fillStyle = colours[i];
      mark(small, data.groups[i].shape, 7, 7, 5);
    });
    Object.assign(canvas.dataset, { yaw: view.yaw, pitch: view.pitch, zoom: view.zoom, points: visible.length });
  };
});
