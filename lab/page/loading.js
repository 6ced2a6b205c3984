// The line above the lab: what loading costs, how far it is, and in one sentence why it did not work.
const MB = 1e6;

// `start()` is called by the button, where there is one (`able`). Returns {able, progress, ready, failed}.
function loader(parent, about, start) {
  const bar = add(parent, "div", "", { class: "lab-load" });
  const words = add(bar, "p", "", { role: "status" });
  const progress = add(bar, "progress", "", { max: 1, "aria-label": "Loading the model" });
  progress.hidden = true;
  const stored = "The answers to the examples were computed when the book was built.";
  let go;
  if (!about) words.textContent = `${stored} This copy of the book was built without the model’s file, so they are all there is.`;
  else if (location.protocol === "file:") {
    words.textContent = `${stored} To run the model itself, open the book through a server: make serve. Browsers let no page on a disk do that.`;
  } else {
    words.textContent = `${stored} The model itself runs here, too: ${(about.total / MB).toFixed(0)} MB from this book’s ` +
      `address, once, and about ${about.memory} MB of memory while the page is open. What you type stays in your browser.`;
    go = button(bar, `Load the model (${(about.total / MB).toFixed(0)} MB)`, () => {
      go.hidden = true;
      progress.hidden = false;
      words.textContent = "Loading and checking the model …";
      start();
    }, { class: "lab-go" });
  }
  return {
    able: go !== undefined,
    progress: value => { progress.value = value; },
    ready: ({ checked, kept }) => {
      progress.hidden = true;
      words.textContent = `The model runs in this page: all ${LAYERS} layers of it. ` +
        (checked ? "Every part has the SHA-256 that the book was built with. " : "On an address without https a browser cannot check SHA-256, only sizes. ") +
        (kept ? "It came from this browser’s own storage." : "");
    },
    failed: reason => {
      progress.hidden = true;
      words.textContent = `The model could not be loaded: ${reason.replace(/\.$/, "")}. ${stored}`;
      if (go) Object.assign(go, { hidden: false, textContent: "Try again" });
    },
  };
}
