// "Predict first": a guess comes before the answer, stays marked, and is remembered in this browser.
document.addEventListener("DOMContentLoaded", () => {
  document.querySelectorAll(".th-predict").forEach((box, number) => {
    const covered = box.nextElementSibling;
    const key = `th-guess:${location.pathname}:${number}`;
    // A browser may keep nothing, of files for instance: then a guess lasts as long as the page.
    const stored = { get: () => { try { return localStorage.getItem(key); } catch { return null; } },
                     set: value => { try { localStorage.setItem(key, value); } catch { /* as said */ } } };
    const list = box.querySelector("ul");
    const group = document.createElement("div");
    group.setAttribute("role", "group");
    group.setAttribute("aria-label", "Your guess");
    const button = (content, className, press) => {
      const made = Object.assign(document.createElement("button"), { type: "button", className, onclick: press });
      made.append(...content);
      return group.appendChild(made);
    };
    const choices = [...list.children].map((item, i) =>
      button([...(item.querySelector("p") ?? item).childNodes], "th-choice", () => guess(i)));
    const show = button(["Show without a guess"], "th-show", () => reveal());
    list.replaceWith(group);

    function reveal() {
      covered.hidden = false;
      show.hidden = true;
      document.dispatchEvent(new Event("scroll"));
    }
    function guess(i) {
      choices.forEach((choice, j) => choice.setAttribute("aria-pressed", i === j));
      stored.set(choices[i].textContent);
      reveal();
    }
    covered.hidden = true;
    const before = choices.findIndex(choice => choice.textContent === stored.get());
    if (before >= 0) guess(before);
  });
});
