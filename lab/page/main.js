// The lab: one state, asked of one engine, shown by all parts.
const SETTLED = 400; // ms without a change, before a prompt is run, a link written and the sentence read out
const channelOf = name => DATA.channels.find(channel => channel.name === name);
const fromExample = ({ prompt, words, dial, heads }) =>
  ({ prompt, words: [...words], dials: [parseDial(dial)], heads: heads.slice(0, 2) });

function start() {
  const folder = new URL(ROOT.dataset.folder, location.href);
  let state = fromLink(location.hash) || fromExample(DATA.examples[0]);
  let worker, later, speaking;
  let from; // the token that looks, undefined for the last
  let attention; // of the prompt as it is
  const cards = [], rows = [];

  const load = loader(ROOT, DATA.model, () => {
    worker?.terminate();
    worker = undefined;
    let found;
    try {
      found = startWorker(folder, hear);
    } catch (error) {
      load.failed(error.message);
      return;
    }
    function hear(kind, value) {
      if (kind === "progress") load.progress(value);
      else if (kind === "failed") {
        found.terminate();
        worker = undefined;
        load.failed(value);
        ROOT.dataset.engine = "stored";
        use(stored() ? state : fromExample(DATA.examples[0]));
      } else if (kind === "ready") {
        worker = found;
        load.ready(value);
        ROOT.dataset.engine = "live";
        build();
      } else if (kind === "refused") refuse(value);
      else if (kind === "answer" && worker === found) {
        attention = value.before || attention;
        const same = part => {
          const [given, wanted] = [value, state].map(({ prompt: text, dials }) => JSON.stringify([text, dials.map(part)]));
          return given === wanted;
        };
        ROOT.toggleAttribute("data-settled", same(dial => dial)); // what is shown then is what was asked last
        if (same(nameOf)) show(fromWorker(value, attention), value.dials); // else a newer answer is on its way
      }
    }
  });

  // --- the parts, from top to bottom ---
  if (!load.able && !stored()) { // what a link from a chapter asks for has no answer here
    state = fromExample(DATA.examples.find(example => example.prompt === state.prompt) || DATA.examples[0]);
  }
  const grid = add(ROOT, "div", "", { class: "lab-grid" });
  const ask = add(grid, "div");
  const label = add(ask, "label", "Prompt");
  const prompt = add(label, "textarea", "", { rows: 3, maxlength: LONGEST, spellcheck: "false" });
  const count = add(ask, "p", "", { class: "lab-note", "aria-live": "polite" });
  const examples = add(ask, "div", "", { class: "lab-line", role: "group", "aria-label": "Examples" });
  DATA.examples.forEach(example => button(examples, example.title, () => use(fromExample(example))));
  builder(ask, DATA.lists, (text, items) => use({ ...state, prompt: text, words: items }));
  const wordsLine = add(ask, "label", "Words to compare ", { class: "lab-words" });
  const words = add(wordsLine, "input", "", { type: "text", placeholder: "Mary, John", maxlength: 200 });

  const turn = add(grid, "div");
  add(turn, "h3", "Turn a message at the last token");
  const dialBox = add(turn, "div");
  const addDial = picker(turn, "Add a component", "like 19.5.1", DATA.channels.map(one => one.name), includeDial);
  const named = add(addDial, "div", "", { class: "lab-line", role: "group", "aria-label": "Components of the chapters" });
  DATA.channels.forEach(({ name, says }) => button(named, name, () => includeDial(name),
    { class: "lab-chip lab-message", title: says, "aria-label": `Add ${name}, ${says}` }));
  function includeDial(text) { // returns what is wrong with it
    const dial = parseDial(text);
    if (!dial) return `${text}: layers 0 to ${LAYERS - 1}, heads 0 to ${HEADS - 1}, components 0 to ${PARTS - 1}, as 19.5.1`;
    if (state.dials.some(one => nameOf(one) === nameOf(dial))) return `${nameOf(dial)} is there`;
    if (state.dials.length >= MOST_DIALS) return `${MOST_DIALS} dials are the limit`;
    use({ ...state, dials: [...state.dials, dial] });
    return "";
  }

  const say = add(ROOT, "p", "", { class: "lab-sentence" });
  const aloud = add(ROOT, "p", "", { class: "lab-aloud", role: "status" });
  const result = add(ROOT, "div");
  const lookBox = add(result, "section", "", { class: "lab-looks", "aria-label": "Where heads look" });
  const lookTitle = add(lookBox, "div", "", { class: "lab-line" });
  add(lookTitle, "h3", "Where heads look");
  const whose = add(add(lookTitle, "label", "from ", { class: "lab-from" }), "select");
  whose.onchange = () => {
    from = Number(whose.value) === whose.options.length - 1 ? undefined : Number(whose.value);
    request();
  };
  const lookRows = add(lookBox, "div");
  const pick = head => {
    if (state.heads.includes(head)) return use({ ...state, heads: state.heads.filter(one => one !== head) });
    return use({ ...state, heads: [...state.heads, head].slice(-MOST_HEADS) });
  };
  const addHead = picker(lookBox, "Add a head", "like 23.0", Object.keys(DATA.roles), text => {
    const head = parseHead(text);
    if (!head) return `${text}: layers 0 to ${LAYERS - 1}, heads 0 to ${HEADS - 1}, as 23.0`;
    if (!state.heads.includes(head)) pick(head);
    return "";
  });
  const answers = answersTable(add(result, "section", "", { "aria-label": "What the model says next" }));
  const boardBox = add(result, "section", "", { class: "lab-all", "aria-label": "All heads" });
  const boardTitle = add(boardBox, "h3");
  const drawBoard = board(boardBox, DATA.roles, pick);
  const tools = add(ROOT, "div", "", { class: "lab-line lab-tools" });
  const code = copies(tools, () => state);

  // --- what the reader does ---
  prompt.oninput = () => {
    state.prompt = prompt.value;
    ROOT.removeAttribute("data-settled");
    clearTimeout(later);
    later = setTimeout(request, SETTLED);
  };
  words.onchange = () => {
    state.words = words.value.split(/[,\s]+/).filter(Boolean).filter(unlike).slice(0, MOST_WORDS);
    request();
  };
  function use(next) {
    state = next;
    from = undefined;
    build();
  }
  addEventListener("hashchange", () => {
    const linked = fromLink(location.hash);
    if (linked) use(linked);
  });

  function build() { // the controls anew, then the answer
    prompt.value = state.prompt;
    words.value = state.words.join(", ");
    const live = worker !== undefined;
    [addDial, addHead, boardBox, wordsLine, ROOT.querySelector(".lab-builder")].forEach(node => { node.hidden = !live; });
    dialBox.replaceChildren();
    cards.splice(0, cards.length, ...state.dials.map((dial, i) => dialCard(dialBox, dial, channelOf(nameOf(dial)),
      channelOf(nameOf(dial)) ? DATA.limit : 20, live, change => {
        Object.assign(state.dials[i], change);
        request();
      }, live && (() => {
        use({ ...state, dials: state.dials.filter((_, j) => j !== i) });
        addDial.querySelector("input").focus(); // the button that had it is gone
      }))));
    lookRows.replaceChildren();
    rows.splice(0, rows.length, ...state.heads.map(head =>
      looksRow(lookRows, head, DATA.roles[head], live && (() => {
        pick(head);
        addHead.querySelector("input").focus();
      }))));
    request();
  }

  // --- the answer ---
  function stored() {
    const known = DATA.examples.find(example => example.prompt === state.prompt);
    const [dial, ...others] = state.dials;
    return known && !others.length && (!dial || nameOf(dial) === known.dial) ? new Stored(known) : undefined;
  }
  function request() {
    clearTimeout(later);
    ROOT.removeAttribute("data-settled");
    const { dials, prompt: text, words: watched } = state;
    if (worker) {
      worker.postMessage({ ask: { prompt: text, dials: dials.map(dial => ({ ...dial })), words: watched } });
      return;
    }
    const engine = stored();
    if (!engine) return refuse("Load the model to see what it makes of this.");
    const answer = engine.answer(state);
    dials.forEach((dial, i) => { if (dial.mode === "set") dial.value = answer.state[i].now; }); // the nearest there is
    show(answer, dials);
  }
  function refuse(reason) {
    count.textContent = reason;
    result.hidden = say.hidden = true;
    aloud.textContent = "";
  }
  function show(answer, dials) {
    const end = answer.tokens.length - 1;
    result.hidden = say.hidden = false;
    boardBox.hidden = !answer.moved;
    count.textContent = `${end + 1} of at most ${DATA.most} tokens; the first, BOS, stands before every prompt. ` +
      "A longer one would take seconds.";
    if (dials.length === cards.length) cards.forEach((card, i) => card(state.dials[i], answer.state[i]));
    if (from > end) from = undefined;
    fillTokens(answer.tokens);
    rows.forEach((row, i) => row(answer.tokens, answer.looks(state.heads[i], from), from ?? end, answer.turned && (from ?? end) === end));
    answers(answer);
    if (answer.moved) {
      boardTitle.textContent = answer.turned ? "Which heads look elsewhere now" : "How much each head looks at the text";
      drawBoard(answer, state.heads);
    }
    say.textContent = sentence(answer, dials, state.heads);
    code();
    Object.assign(ROOT.dataset, { ms: answer.ms?.toFixed(1) ?? "", answers: Number(ROOT.dataset.answers || 0) + 1 });
    clearTimeout(speaking);
    speaking = setTimeout(() => {
      aloud.textContent = say.textContent;
      if (worker) history.replaceState(null, "", toLink(state));
    }, SETTLED);
  }
  function fillTokens(tokens) {
    const names = tokens.map((token, t) => `${t === tokens.length - 1 ? "the last token" : `token ${t}`}: ${seen(token)}`);
    if (names.join() !== Array.from(whose.options, option => option.text).join()) {
      whose.replaceChildren();
      names.forEach((name, t) => add(whose, "option", name, { value: t }));
    }
    whose.value = from ?? tokens.length - 1;
    whose.parentElement.hidden = worker === undefined;
  }

  ROOT.addEventListener("keydown", event => event.stopPropagation()); // the theme turns pages with the arrow keys
  build();
  ROOT.dataset.engine = "stored"; // last: until then the table stays
}

const before = ROOT.childNodes.length;
try {
  start();
} catch (error) {
  while (ROOT.childNodes.length > before) ROOT.lastChild.remove();
  setTimeout(() => { throw error; }); // reported, and the table stays
}
