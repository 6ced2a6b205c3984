// A field that adds what is typed into it, and the buttons that copy.
// `chosen(text)` returns what is wrong with it, if anything.
function picker(parent, text, hint, known, chosen) {
  const form = add(parent, "form", "", { class: "lab-line lab-picker" });
  const id = `lab-known-${text.split(" ").pop()}`;
  const attributes = { list: id, placeholder: hint, size: 8, maxlength: 12 };
  const field = add(add(form, "label", `${text} `), "input", "", attributes);
  const options = add(form, "datalist", "", { id });
  known.forEach(value => add(options, "option", "", { value }));
  add(form, "button", "Add", { type: "submit" });
  const wrong = add(form, "small", "", { role: "alert" });
  form.onsubmit = event => {
    event.preventDefault();
    const typed = field.value.trim();
    wrong.textContent = typed && chosen(typed);
    if (!wrong.textContent) field.value = "";
  };
  return form;
}

// A link and th_utils code for what `state()` is. Returns what writes the code down again.
function copies(parent, state) {
  const shown = document.createElement("details");
  shown.className = "lab-code";
  add(shown, "summary", "The same in Python");
  const code = add(add(shown, "pre"), "code");
  const write = () => { code.textContent = toCode(state()); };
  const made = {
    "Copy a link to this": () => location.href.split("#")[0] + toLink(state()),
    "Copy as th_utils code": () => toCode(state()),
  };
  Object.entries(made).forEach(([text, make]) => button(parent, text, async () => {
    const copied = await navigator.clipboard?.writeText(make()).then(() => true, () => false);
    done.textContent = copied ? "It is in the clipboard." : "This browser lets no page copy: take it from below.";
    if (copied) return;
    shown.open = true; // to be selected
    code.textContent = make();
  }));
  const done = add(parent, "span", "", { role: "status" });
  parent.after(shown);
  return write;
}
