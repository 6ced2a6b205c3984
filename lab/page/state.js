// What the reader has set, as a link and as th_utils code. Everything else in the page follows from it.
//
// `dials`: [{layer, head, k, mode, value}] with mode "off", "set" (c becomes the value) or "scale" (c times the value).
const MOST_DIALS = 6, MOST_HEADS = 6, MOST_WORDS = 12, LONGEST = 2000; // a link from somebody else may hold anything

function parseDial(text) { // "20.0.0", "20.0.0:set:30" or "20.0.0:scale:-1"
  const found = /^(\d+)\.(\d+)\.(\d+)(?::(set|scale):(-?\d+(?:\.\d+)?))?$/.exec(text.trim());
  if (!found) return undefined;
  const [layer, head, k] = found.slice(1, 4).map(Number);
  if (layer >= LAYERS || head >= HEADS || k >= PARTS) return undefined;
  return { layer, head, k, mode: found[4] || "off", value: Number(found[5] || 0) };
}

function parseHead(text) {
  const found = /^(\d+)\.(\d+)$/.exec(text.trim());
  return found && Number(found[1]) < LAYERS && Number(found[2]) < HEADS ? headOf({ layer: +found[1], head: +found[2] }) : undefined;
}

const unlike = (one, i, all) => one !== undefined && all.indexOf(one) === i;

function toLink({ prompt, words, dials, heads }) {
  const query = new URLSearchParams({ prompt });
  words.forEach(word => query.append("word", word));
  dials.forEach(dial => query.append("dial",
    nameOf(dial) + (dial.mode === "off" ? "" : `:${dial.mode}:${Number(dial.value.toFixed(4))}`)));
  heads.forEach(head => query.append("head", head));
  return `#${query}`;
}

function fromLink(hash) { // undefined where the link holds no state, as #section does
  const query = new URLSearchParams(hash.slice(1));
  const prompt = query.get("prompt");
  if (!prompt) return undefined;
  const [{ dial: usual, heads: movers }] = DATA.examples; // for a link that names no dial or no head
  const listed = (name, others) => (query.has(name) ? query.getAll(name) : others);
  const dials = listed("dial", [usual]).map(parseDial).filter(Boolean);
  return {
    prompt: prompt.slice(0, LONGEST),
    words: query.getAll("word").map(word => word.trim().slice(0, 40)).filter(Boolean).slice(0, MOST_WORDS),
    dials: dials.filter((dial, i) => dials.findIndex(one => nameOf(one) === nameOf(dial)) === i).slice(0, MOST_DIALS),
    heads: listed("head", movers.slice(0, 2)).map(parseHead).filter(unlike).slice(0, MOST_HEADS),
  };
}

function toCode({ prompt, dials, heads }) {
  const turned = dials.filter(dial => dial.mode !== "off").map(({ layer, head, k, mode, value }) =>
    `    *th.channel(weights, [(${layer}, ${head}, ${k})]).${mode}(${Number(value.toFixed(4))}),\n`);
  return `import pandas as pd
import th_utils as th
from th_utils.tasks.prompts import Prompts, encode

model = th.load_model("smollm2-135m")
weights = th.head_weights(model)
text = ${JSON.stringify(prompt)}
tokens, end = encode(model.tokenizer, [text])
nothing = tokens[:, 0]  # no answer is right or wrong here
prompts = Prompts(tokens, nothing, nothing, {"END": end}, (text,), pd.DataFrame({"text": [text]}))

before = th.run(model, prompts)
after = th.rerun_last(model, before, [
${turned.join("")}])
for name, run in (("before", before), ("after", after)):
    top = th.logits(model, run)[0].softmax(-1).topk(8)
    print(name, {model.tokenizer.decode([i]): round(float(p), 4) for p, i in zip(*top)})
    for layer, head in [${heads.map(head => `(${head.replace(".", ", ")})`).join(", ")}]:
        looks = run.pattern[layer, 0, head, 0].tolist()
        print(f"  {layer}.{head} looks", [round(look, 3) for look in looks])
`;
}
