// A Llama model in the blocks of a GGUF file, run in the page: norm, rotation, attention and SiLU are here to be read,
// the matrix product is kernel.c. `run` keeps what `rerun` needs to change heads at the last token (END) only.
import { parse, row } from "./gguf.js";

const BLOCK = { 3: 20, 8: 34 }; // bytes of 32 weights, by the number of the type: Q4_1, Q8_0
const DH = 64; // numbers per head; the kernel's loops and the rotation count on it
const MATRICES = ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"];

export class Model {
  // `pieces`: an async iterator over the file; `kernel`: the bytes of kernel.wasm; prompts may have `most` tokens.
  static async load(pieces, kernel, most) {
    const self = Object.assign(new Model(), { most });
    const { instance } = await WebAssembly.instantiate(kernel);
    const { matmul, memory, __heap_base: base } = instance.exports;
    Object.assign(self, { matmul, buffer: memory.buffer, view: new DataView(memory.buffer) });
    const file = self.top = Math.ceil(base.value / 64) * 64;
    for await (const piece of pieces) {
      new Uint8Array(self.buffer, self.top, piece.length).set(piece);
      self.top += piece.length;
    }
    const { meta, tensors } = parse(new Uint8Array(self.buffer, file, self.top - file));
    const get = name => meta[`llama.${name}`];
    self.d = get("embedding_length");
    self.heads = get("attention.head_count");
    self.kv = get("attention.head_count_kv"); // `heads / kv` heads share keys and values
    self.ff = get("feed_forward_length");
    self.eps = get("attention.layer_norm_rms_epsilon");
    self.start = meta["tokenizer.ggml.bos_token_id"]; // the token that every prompt begins with, here as in the book
    const weight = name => {
      const { shape: [K, N], type, offset } = tensors[`${name}.weight`];
      if (N === undefined) return new Float32Array(self.buffer, file + offset, K); // the gain of a norm
      if (!BLOCK[type]) throw new Error(`${name} has weights of type ${type}: Q4_1 and Q8_0 are read`);
      return { K, N, at: file + offset, bytes: BLOCK[type] };
    };
    self.layers = Array.from({ length: get("block_count") }, (_, layer) => ({
      ...Object.fromEntries(["attn_norm", "ffn_norm", ...MATRICES].map(name => [name, weight(`blk.${layer}.${name}`)])),
      keys: new Float32Array(most * self.kv * DH),
      values: new Float32Array(most * self.kv * DH),
    }));
    [self.embedding, self.gain] = [weight("token_embd"), weight("output_norm")];
    [self.x, self.y] = [self.room(most * self.ff), self.room(Math.max(most * self.ff, self.embedding.N))];
    // Angles are rounded to 32 bits where torch rounds them: without that, attention is off by more than by all else.
    self.angles = Float32Array.from({ length: most * DH / 2 }, (_, i) =>
      Math.floor(i / 32) * Math.fround(get("rope.freq_base") ** -(i % 32 / 32)));
    return self;
  }

  room(floats) { // beside the file, for the kernel
    this.top = Math.ceil(this.top / 16) * 16 + floats * 4;
    return new Float32Array(this.buffer, this.top - floats * 4, floats);
  }

  times(x, w) { // [T, K] @ w.T; the result is overwritten by the next product
    this.x.set(x);
    const T = x.length / w.K;
    this.matmul(this.x.byteOffset, T, w.K, w.at, w.bytes, w.N, this.y.byteOffset);
    return this.y.subarray(0, T * w.N);
  }

  norm(x, gain) {
    const out = new Float32Array(x.length);
    for (let at = 0; at < x.length; at += this.d) {
      let square = 0;
      for (let i = 0; i < this.d; i++) square += x[at + i] ** 2;
      const scale = 1 / Math.sqrt(square / this.d + this.eps);
      for (let i = 0; i < this.d; i++) out[at + i] = x[at + i] * scale * gain[i];
    }
    return out;
  }

  rotate(x, heads, from) { // in place; the file's order of pairs is (2i, 2i + 1)
    for (let i = 0; i < x.length; i += 2) {
      const angle = this.angles[(from + Math.floor(i / (heads * DH))) * 32 + i % DH / 2];
      const [a, b, cos, sin] = [x[i], x[i + 1], Math.cos(angle), Math.sin(angle)];
      x[i] = a * cos - b * sin;
      x[i + 1] = a * sin + b * cos;
    }
    return x;
  }

  attend(layer, resid, from) { // z of every token, and where each looks: [tokens][heads][positions]
    const { attn_norm, attn_q, attn_k, attn_v, keys, values } = layer;
    const [T, wide, group] = [resid.length / this.d, this.kv * DH, this.heads / this.kv];
    const x = this.norm(resid, attn_norm);
    keys.set(this.rotate(this.times(x, attn_k), this.kv, from), from * wide);
    values.set(this.times(x, attn_v), from * wide);
    const q = this.rotate(this.times(x, attn_q), this.heads, from);
    const z = new Float32Array(q.length);
    const attention = Array.from({ length: T }, (_, t) => Array.from({ length: this.heads }, (_, h) => {
      const [n, one, kv] = [from + t + 1, (t * this.heads + h) * DH, Math.floor(h / group) * DH];
      const a = new Float32Array(n);
      let [top, total] = [-Infinity, 0];
      for (let s = 0; s < n; s++) {
        let score = 0;
        for (let i = 0; i < DH; i++) score += q[one + i] * keys[s * wide + kv + i];
        top = Math.max(top, a[s] = score / Math.sqrt(DH));
      }
      for (let s = 0; s < n; s++) total += a[s] = Math.exp(a[s] - top);
      for (let s = 0; s < n; s++) {
        a[s] /= total;
        for (let i = 0; i < DH; i++) z[one + i] += a[s] * values[s * wide + kv + i];
      }
      return a;
    }));
    return { z, attention };
  }

  rest({ attn_output, ffn_norm, ffn_gate, ffn_up, ffn_down }, resid, z) { // the layer's writes, added to resid
    const add = written => { for (let i = 0; i < resid.length; i++) resid[i] += written[i]; };
    add(this.times(z, attn_output));
    const x = this.norm(resid, ffn_norm);
    const [gate, up] = [this.times(x, ffn_gate).slice(), this.times(x, ffn_up)];
    for (let i = 0; i < gate.length; i++) gate[i] *= up[i] / (1 + Math.exp(-gate[i]));
    add(this.times(gate, ffn_down));
  }

  logits(resid) { return this.times(this.norm(resid.subarray(-this.d), this.gain), this.embedding).slice(); }

  // A whole prompt: logits at END, and by layer `z` at END and `attention` of every token.
  run(ids) {
    const resid = new Float32Array(ids.length * this.d);
    ids.forEach((id, t) => resid.set(row(this.view, this.embedding, id), t * this.d));
    this.base = { n: ids.length, before: [], z: [], attention: [] };
    for (const layer of this.layers) {
      this.base.before.push(resid.slice(-this.d));
      const { z, attention } = this.attend(layer, resid, 0);
      this.base.z.push(z.slice(-this.d));
      this.base.attention.push(attention);
      this.rest(layer, resid, z);
    }
    return Object.assign(this.base, { logits: this.logits(resid) });
  }

  // The same at END after `edits`, [{layer, apply(z)}]: each changes that layer's z at END in place. Earlier tokens
  // cannot change, so only END is computed, from the first edited layer on.
  rerun(edits) {
    const { n, before, z: zs, attention } = this.base;
    const first = Math.min(...edits.map(edit => edit.layer));
    const [looks, out, resid] = [attention.map(layer => layer.at(-1)), [...zs], before[first].slice()];
    for (let l = first; l < this.layers.length; l++) {
      if (l === first) out[l] = zs[l].slice();
      else ({ z: out[l], attention: [looks[l]] } = this.attend(this.layers[l], resid, n - 1));
      edits.filter(edit => edit.layer === l).forEach(edit => edit.apply(out[l]));
      this.rest(this.layers[l], resid, out[l]);
    }
    return { logits: this.logits(resid), z: out, looks };
  }
}
