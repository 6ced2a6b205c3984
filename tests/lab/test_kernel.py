"""The lab's matrix product: the bytes of kernel.wasm compute what its C says, by numpy."""

from pathlib import Path

import gguf
import numpy as np
import pytest
from pages import headless, served

LAB = Path(__file__).resolve().parents[2] / "lab"
TYPES = {20: gguf.GGMLQuantizationType.Q4_1, 34: gguf.GGMLQuantizationType.Q8_0}  # by the bytes of 32 weights

PRODUCT = """async ({ x, T, K, N, w, bytes }) => {
    const { instance } = await WebAssembly.instantiate(await (await fetch("kernel.wasm")).arrayBuffer());
    const { matmul, memory, __heap_base } = instance.exports;
    const from = Math.ceil(__heap_base.value / 64) * 64;
    const [xs, ys, ws] = [from, from + 4 * T * K, from + 4 * T * (K + N)];
    new Float32Array(memory.buffer, xs, T * K).set(x);
    new Uint8Array(memory.buffer, ws, w.length).set(w);
    matmul(xs, T, K, ws, bytes, N, ys);
    const { row } = await import("/gguf.js");
    const rows = Array.from({ length: N }, (_, n) => row(new DataView(memory.buffer), { K, at: ws, bytes }, n));
    return { y: Array.from(new Float32Array(memory.buffer, ys, T * N)), rows: rows.flatMap(one => Array.from(one)) };
}"""


@pytest.fixture(scope="module")
def tab():
    with headless() as browser, served(LAB) as address:
        context = browser.new_context()
        page = context.new_page()
        page.goto(f"{address}/gguf.js")
        yield page
        context.close()


@pytest.mark.slow
@pytest.mark.parametrize("bytes_", TYPES)
@pytest.mark.parametrize(("tokens", "width", "rows"), [(1, 576, 5), (3, 64, 2), (4, 1536, 3), (9, 576, 7)])
def test_products_are_those_of_numpy(tab, bytes_, tokens, width, rows):
    rng = np.random.default_rng(tokens)
    scales = np.array([1.0, 1e-4, 3e-7])[rng.integers(3, size=(rows, width // 32, 1))]  # the last: subnormal halves
    weights = (rng.normal(size=(rows, width // 32, 32)) * scales).reshape(rows, width).astype(np.float32)
    packed = gguf.quants.quantize(weights, TYPES[bytes_])
    exact = gguf.quants.dequantize(packed, TYPES[bytes_]).astype(np.float64)
    x = rng.normal(size=(tokens, width)).astype(np.float32)
    sizes = {"T": tokens, "K": width, "N": rows, "bytes": bytes_}
    found = tab.evaluate(PRODUCT, {"x": x.ravel().tolist(), "w": packed.ravel().tolist(), **sizes})
    assert np.array_equal(np.array(found["rows"]).reshape(rows, width), exact)
    expected = x.astype(np.float64) @ exact.T
    allowed = 1e-6 * (abs(x).astype(np.float64) @ abs(exact).T) + 1e-12
    assert (abs(np.array(found["y"]).reshape(tokens, rows) - expected) <= allowed).all()


@pytest.mark.slow
def test_a_file_of_another_kind_is_refused_by_name(tab):
    said = tab.evaluate("""async () => {
        const { parse } = await import("/gguf.js");
        try { parse(new Uint8Array(64)); } catch (error) { return error.message; }
    }""")
    assert "no GGUF file" in said
