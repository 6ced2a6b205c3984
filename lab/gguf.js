// What a GGUF file holds: `meta`, its settings, and `tensors`, where each begins: {name: {shape, type, offset}}.
export function parse(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  const take = (method, size) => () => {
    at += size;
    return Number(view[method](at - size, true));
  };
  const [u32, u64] = [take("getUint32", 4), take("getBigUint64", 8)];
  const text = () => {
    const length = u64();
    at += length;
    return new TextDecoder().decode(bytes.slice(at - length, at));
  };
  const list = () => {
    const one = value[u32()];
    return Array.from({ length: u64() }, one);
  };
  const value = [ // by the number of the type
    take("getUint8", 1), take("getInt8", 1), take("getUint16", 2), take("getInt16", 2), u32, take("getInt32", 4),
    take("getFloat32", 4), take("getUint8", 1), text, list, u64, take("getBigInt64", 8), take("getFloat64", 8),
  ];
  if (u32() !== 0x46554747 || u32() !== 3) throw new Error("this is no GGUF file of version 3");
  const [tensors, settings] = [u64(), u64()];
  const read = (n, one) => Object.fromEntries(Array.from({ length: n }, () => [text(), one()]));
  const found = {
    meta: read(settings, () => value[u32()]()),
    tensors: read(tensors, () => ({ shape: Array.from({ length: u32() }, u64), type: u32(), offset: u64() })),
  };
  const start = Math.ceil(at / 32) * 32;
  Object.values(found.tensors).forEach(tensor => { tensor.offset += start; });
  return found;
}

// The values of one row of a matrix that stands in blocks of 32: Q4_1 (20 bytes) or Q8_0 (34 bytes).
export function row(view, { K, at, bytes }, n) {
  const out = new Float32Array(K);
  for (let i = 0; i < K; i++) {
    const block = at + (n * K + i - i % 32) / 32 * bytes;
    const [place, d] = [i % 32, half(view.getUint16(block, true))];
    if (bytes === 34) out[i] = d * view.getInt8(block + 2 + place);
    else out[i] = Math.fround(d * (view.getUint8(block + 4 + place % 16) >> (place < 16 ? 0 : 4) & 15)) +
      half(view.getUint16(block + 2, true));
  }
  return out;
}

function half(bits) {
  const sign = bits & 0x8000 ? -1 : 1;
  const [power, rest] = [bits >> 10 & 31, bits & 1023];
  return sign * (power ? 2 ** (power - 15) * (1 + rest / 1024) : 2 ** -14 * rest / 1024);
}
