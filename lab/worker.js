// Beside the page: the model, its tokenizer and its edits. One question at a time; of those that wait, the newest.
//
// In: {load: folder} once, then {ask: {prompt, dials, words}} with dials of {layer, head, k, mode, value}.
// Out: {progress}, {ready}, {answer}, {refused} (a prompt that cannot be run), {failed} (no model: the page goes on
// with what was computed when the book was built).
import { activation, components, edit } from "./components.js";
import { Model } from "./model.js";
import { Refused, canCheck, openCache, part } from "./parts.js";
import { Tokenizer } from "./tokenizers/tokenizers.min.mjs";

const MOST = 96; // tokens: a prompt of that length takes a second or two, and its keys and values have their room
const TOP = 12; // likeliest next tokens
let model, tokenizer, asked, waiting, text, base;
const known = new Map(); // components of the heads that were asked for

async function load(folder) {
  const about = await (await fetch(new URL("model.json", folder))).json();
  const cache = await openCache(about).catch(() => undefined); // a private window may refuse
  const counted = { got: 0, kept: true };
  async function take(file) {
    const { bytes, kept } = await part(file, folder, cache);
    counted.got += bytes.length;
    counted.kept &&= kept;
    self.postMessage({ progress: counted.got / about.total });
    return bytes;
  }
  async function* weights() {
    for (const file of about.weights) yield await take(file);
  }
  const kernel = await (await fetch(new URL("kernel.wasm", import.meta.url))).arrayBuffer();
  model = await Model.load(weights(), kernel, MOST);
  const [words, settings] = await Promise.all(about.tokenizer.map(async file => // settled before the next is begun
    JSON.parse(new TextDecoder().decode(await take(file)))));
  tokenizer = new Tokenizer(words, settings);
  const sizes = { layers: model.layers.length, heads: model.heads, most: MOST };
  self.postMessage({ ready: { ...sizes, checked: canCheck(), kept: counted.kept } });
}

const encode = words => tokenizer.encode(words, { add_special_tokens: false }).ids;

function component(layer, head, k) {
  const name = `${layer}.${head}`;
  if (!known.has(name)) known.set(name, components(model, layer, head));
  return known.get(name)[k];
}

function read(prompt) { // the prompt as it is, once for all settings of the dials
  const ids = [model.start, ...encode(prompt)];
  if (ids.length < 2) throw new Refused("Type a prompt.");
  if (ids.length > MOST) throw new Refused(`This prompt has ${ids.length} tokens; ${MOST} are the limit.`);
  base = { ...model.run(ids), ids, tokens: ids.map((id, i) => (i ? tokenizer.decode([id]) : "BOS")) };
  base.chances = chances(base.logits);
  text = prompt;
  return base.attention.map(packed);
}

// [tokens][heads][positions] of one layer in one piece, with room for every position: quick to hand over.
function packed(layer) {
  const out = new Float32Array(layer.length * layer.length * model.heads);
  layer.forEach((heads, t) => heads.forEach((row, h) => out.set(row, (t * model.heads + h) * layer.length)));
  return out;
}

function chances(logits) { // log-probabilities of all tokens
  const top = logits.reduce((a, b) => Math.max(a, b), -Infinity);
  const all = top + Math.log(logits.reduce((sum, x) => sum + Math.exp(x - top), 0));
  return logits.map(x => x - all);
}

function likeliest(chances) {
  const found = [];
  chances.forEach((x, id) => {
    if (found.length === TOP && x <= chances[found[TOP - 1]]) return;
    found.push(id);
    found.sort((a, b) => chances[b] - chances[a]).splice(TOP);
  });
  return found;
}

function answer({ prompt, dials, words }) {
  const start = performance.now();
  const before = prompt === text ? undefined : read(prompt);
  const state = dials.map(({ layer, head, k }) => {
    const { sigma, ...found } = component(layer, head, k);
    const all = known.get(`${layer}.${head}`).reduce((sum, one) => sum + one.sigma ** 2, 0);
    return { found, share: sigma ** 2 / all, own: activation(base.z[layer], head, found) };
  });
  const edits = dials.flatMap(({ layer, head, mode, value }, i) => {
    if (mode === "off") return [];
    const change = c => state[i].now = mode === "set" ? value : value * c;
    return [edit(layer, head, state[i].found, change, c => { state[i].came = c; })];
  });
  const now = edits.length ? model.rerun(edits) : undefined;
  const after = now ? chances(now.logits) : base.chances;
  const watched = words.map(word => ({ word, ids: encode(` ${word.trim()}`) })).filter(({ ids }) => ids.length);
  const row = id => ({ id, token: tokenizer.decode([id]), before: base.chances[id], after: after[id] });
  self.postMessage({ answer: {
    prompt, dials, tokens: base.tokens,
    state: state.map(({ share, own, came, now }) => ({ share, own, came, now })),
    before, // attention by layer, `packed`; only in the first answer about a prompt
    after: now ? now.looks : undefined, // at END: [layers][heads][positions]; undefined where nothing is turned
    next: [...new Set([...likeliest(base.chances), ...likeliest(after)])].map(row),
    watched: watched.map(({ word, ids }) => ({ word, whole: ids.length === 1, ...row(ids[0]) })),
    ms: performance.now() - start,
  } });
}

function report(kind, error) {
  if (!(error instanceof Refused)) console.warn(error);
  self.postMessage({ [kind]: error instanceof Refused ? error.message : String(error?.message || error) });
}

self.onmessage = async ({ data }) => {
  if (data.load) return load(data.load).catch(error => report("failed", error));
  asked = data.ask;
  if (waiting) return;
  waiting = setTimeout(() => { // after the messages that are already here
    waiting = undefined;
    try {
      answer(asked);
    } catch (error) {
      report("refused", error);
    }
  });
};
self.postMessage({ awake: true });
