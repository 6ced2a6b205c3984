// The components of a head's OV circuit, as th_utils has them: W_V W_O = Σ σ_k read_kᵀ write_k, with σ decreasing and
// the largest entry of `write_k` positive. In the page a component is two rows of 64 numbers: its activation in the
// head's output z is c = z·readout, and z + Δ·steer adds exactly Δ·write to what the head writes.
import { row } from "./gguf.js";

const DH = 64;
const dot = (a, b, n = a.length) => {
  let sum = 0;
  for (let i = 0; i < n; i++) sum += a[i] * b[i];
  return sum;
};

// With G = W_Vᵀ W_V = L Lᵀ the product W_V W_O has the right singular vectors of Lᵀ W_O, which has 64 rows only.
// Rotating pairs of these rows until all are orthogonal (one-sided Jacobi) leaves σ_k write_k; the rows of Lᵀ, rotated
// along, become σ_k steer_k.
export function decompose(V, O) { // V: 64 columns of W_V; O: 64 rows of W_O
  const wide = O[0].length;
  const L = cholesky(V.map(a => V.map(b => dot(a, b))));
  const rows = V.map((_, k) => Float64Array.from({ length: wide + DH }, (_, i) =>
    (i < wide ? L.reduce((sum, line, j) => sum + line[k] * O[j][i], 0) : L[i - wide][k])));
  for (let turned = true, sweep = 0; turned && sweep < 30; sweep++) {
    turned = false;
    for (let p = 0; p < DH; p++) for (let q = p + 1; q < DH; q++) turned = turn(rows[p], rows[q], wide) || turned;
  }
  return rows.map(both => {
    const sigma = Math.sqrt(dot(both, both, wide));
    const largest = both.subarray(0, wide).reduce((a, b) => (Math.abs(b) > Math.abs(a) ? b : a), 0);
    const unit = both.map(x => x / sigma * (largest < 0 ? -1 : 1));
    const write = unit.subarray(0, wide);
    return { sigma, write, steer: unit.subarray(wide), readout: Float64Array.from(O, line => dot(line, write)) };
  }).sort((a, b) => b.sigma - a.sigma);
}

function cholesky(G) {
  const L = G.map(line => new Float64Array(line.length));
  for (let i = 0; i < G.length; i++) for (let j = 0; j <= i; j++) {
    const rest = G[i][j] - dot(L[i], L[j], j);
    L[i][j] = i === j ? Math.sqrt(rest) : rest / L[j][j];
  }
  return L;
}

function turn(a, b, wide) { // makes the first `wide` numbers of two rows orthogonal; false where they are
  const [aa, bb, ab] = [dot(a, a, wide), dot(b, b, wide), dot(a, b, wide)];
  if (Math.abs(ab) <= 1e-13 * Math.sqrt(aa * bb)) return false;
  const zeta = (bb - aa) / (2 * ab);
  const tan = (zeta < 0 ? -1 : 1) / (Math.abs(zeta) + Math.sqrt(1 + zeta * zeta));
  const cos = 1 / Math.sqrt(1 + tan * tan);
  for (let i = 0; i < a.length; i++) {
    const x = a[i];
    a[i] = cos * (x - tan * b[i]);
    b[i] = cos * (b[i] + tan * x);
  }
  return true;
}

// All 64 components of a head of the model, with the norm's gain folded into W_V as th_utils folds it.
export function components({ view, layers, heads, kv }, layer, head) {
  const { attn_norm, attn_v, attn_output } = layers[layer];
  const first = Math.floor(head / (heads / kv)) * DH;
  const V = Array.from({ length: DH }, (_, i) => row(view, attn_v, first + i).map((x, j) => x * attn_norm[j]));
  const written = Array.from({ length: attn_output.N }, (_, n) => row(view, attn_output, n));
  return decompose(V, V.map((_, i) => Float64Array.from(written, line => line[head * DH + i])));
}

// An edit for `Model.rerun`: c becomes `change(c)`, and nothing else that the head writes moves. `heard` gets c.
export const edit = (layer, head, { readout, steer }, change, heard = () => {}) => ({ layer, apply(z) {
  const part = z.subarray(head * DH, head * DH + DH);
  const c = dot(part, readout);
  heard(c);
  const step = change(c) - c;
  part.forEach((_, i) => { part[i] += step * steer[i]; });
} });

export const activation = (z, head, { readout }) => dot(z.subarray(head * DH, head * DH + DH), readout);
