// Small maps of whole attention patterns, drawn by circuitsvis. Follows live.js.
// The library lays itself out, on white; its coloured badges are too pale for their text.
const STYLE = `
  .th-pattern-gallery[data-live] div { display: block; margin: 0 }
  .th-pattern-gallery[data-live] > div { overflow-x: auto; color: ${INK.light}; background: ${PAPER.light}; padding: 4px }
  .th-pattern-gallery h3 { font-size: 13px; color: inherit }
  .th-pattern-gallery h4 { font-size: 13px; color: #fff !important; background: #333 !important }
  .th-pattern-gallery [role=button] { cursor: pointer }`;

// One copy of the library for all figures of a page.
function library(source) {
  if (window.CircuitsVis) return Promise.resolve();
  window.thCircuitsVis ??= new Promise((done, failed) => {
    const root = document.documentElement.dataset.content_root || "";
    const script = add(document.head, "script", "", { src: root + source });
    script.onload = done;
    script.onerror = () => failed(new Error(`${source} is not in this book`));
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

enliven("pattern-gallery", STYLE, (figure, { tokens, names, patterns, source }) => {
  const image = figure.querySelector("img");
  image.style.display = "block"; // until the library is there
  const open = () => library(source).then(() => {
    const place = add(figure, "div", "", { id: `gallery-${crypto.getRandomValues(new Uint32Array(1))[0]}` });
    new MutationObserver(() => complete(place)).observe(place, { childList: true, subtree: true });
    CircuitsVis.render(place.id, CircuitsVis.AttentionHeads, { attention: patterns, attentionHeadNames: names, tokens });
    image.style.display = "";
  });
  if (!source) open();
  else {
    const button = add(figure, "button", "Open in circuitsvis", { type: "button" });
    button.onclick = () => { button.remove(); open(); };
  }
  return () => {};
});
