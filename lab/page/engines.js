// Two who answer the same question: what was computed when the book was built, and the model itself in a worker.
//
// An answer: `tokens`; `state`, one of each dial ({own, now, came, share}); `looks(head, from)`, {before, after} by
// position; `moved(layer, head)`, how much of a head's attention went elsewhere; `next` and `watched`, rows of
// {token, before, after} with probabilities.

// Knows one prompt and one component at the stored settings; the nearest of them is what it answers for.
class Stored {
  constructor(example) {
    Object.assign(this, example);
    this.dial = parseDial(example.dial);
  }

  setting(dial) { // the row of the tables: 0 is the prompt as it is
    if (!dial || dial.mode === "off") return 0;
    const wanted = dial.mode === "set" ? dial.value : dial.value * this.own;
    const far = value => Math.abs(value - wanted);
    return this.settings.reduce((best, value, i) => (i && (!best || far(value) < far(this.settings[best])) ? i : best), 0);
  }

  answer({ dials }) {
    const at = this.setting(dials[0]);
    const now = at ? this.settings[at] : undefined;
    const rows = this.next.map((token, i) => ({
      token, word: this.words[i], whole: true, before: this.chances[0][i] / 1e4, after: this.chances[at][i] / 1e4 }));
    return {
      tokens: this.tokens, turned: at > 0, ms: undefined,
      state: dials.map(() => ({ own: this.own, came: this.own, now })),
      looks: head => {
        const i = this.heads.indexOf(head);
        return i < 0 ? undefined : [0, at].map(row => this.looks[row][i].map(x => x / 1e3));
      },
      moved: undefined,
      next: rows.filter(row => Math.max(row.before, row.after) >= 0.005).sort((a, b) => b.before - a.before),
      watched: rows.slice(0, this.words.length),
    };
  }
}

// The worker comes from a blob because such a worker inherits the page's content policy: nothing in it can ask anything
// outside the book. `say(kind, value)` hears what the worker posts (see worker.js).
function startWorker(folder, say) {
  const script = `import ${JSON.stringify(new URL("worker.js", folder).href)};`;
  const source = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
  const worker = new Worker(source, { type: "module" });
  worker.onmessage = ({ data }) => {
    if (data.awake) worker.postMessage({ load: folder.href });
    else Object.entries(data).forEach(([kind, value]) => say(kind, value));
  };
  worker.onerror = event => {
    event.preventDefault();
    say("failed", event.message || "this browser cannot start it");
  };
  return worker;
}

// `before`: attention of the prompt as it is, which the worker hands over once (`packed` there).
function fromWorker({ tokens, state, after, next, watched, ms }, before) {
  const end = tokens.length - 1;
  const look = (layer, head, from) => {
    const start = (from * HEADS + head) * tokens.length;
    return before[layer].subarray(start, start + from + 1);
  };
  const row = one => ({ ...one, before: Math.exp(one.before), after: Math.exp(one.after) });
  const rank = rows => rows.map(row).sort((a, b) => Math.max(b.before, b.after) - Math.max(a.before, a.after));
  return {
    tokens, turned: after !== undefined, state, ms,
    looks: (head, from = end) => {
      const [layer, h] = head.split(".").map(Number);
      const old = Array.from(look(layer, h, from));
      return [old, from === end && after ? Array.from(after[layer][h]) : old];
    },
    moved: (layer, head) => {
      const [old, now] = [look(layer, head, end), after ? after[layer][head] : undefined];
      return now ? old.reduce((sum, x, i) => sum + Math.abs(x - now[i]), 0) / 2 : 1 - old[0];
    },
    next: rank(next), watched: watched.map(row),
  };
}
