// The weights, as 4 MiB files beside the pages: fetched once, checked, kept by the browser.
// The browser's cache holds only what was checked, under a name with the SHA-256 of the whole.

export class Refused extends Error {} // what a reader can act on, in words

const hex = buffer => Array.from(new Uint8Array(buffer), byte => byte.toString(16).padStart(2, "0")).join("");

// `crypto.subtle` and the cache exist on https and on this machine; elsewhere sizes are all that can be compared.
export const canCheck = () => Boolean(self.crypto?.subtle);

async function right(bytes, { size, sha256 }) {
  return bytes.length === size && (!canCheck() || hex(await crypto.subtle.digest("SHA-256", bytes)) === sha256);
}

async function fetched(url) {
  const answer = await fetch(url).catch(() => { throw new Refused(`${url.pathname} could not be fetched`); });
  if (!answer.ok) throw new Refused(`${url.pathname} could not be fetched (${answer.status})`);
  return new Uint8Array(await answer.arrayBuffer());
}

// The bytes of one file of `about.files`, right or not at all; `{bytes, kept}`.
export async function part(file, folder, cache) {
  const url = new URL(file.name, folder);
  const kept = await cache?.match(url);
  if (kept) {
    const bytes = new Uint8Array(await kept.arrayBuffer());
    if (await right(bytes, file)) return { bytes, kept: true };
    await cache.delete(url);
  }
  const bytes = await fetched(url);
  if (!await right(bytes, file)) throw new Refused(`${file.name} is not the file that the book was built with`);
  await cache?.put(url, new Response(bytes)).catch(() => {}); // no room: it is fetched again next time
  return { bytes, kept: false };
}

export async function openCache({ sha256 }) {
  if (!self.caches) return undefined;
  const name = `th-lab-${sha256.slice(0, 16)}`;
  const others = (await caches.keys()).filter(one => one.startsWith("th-lab-") && one !== name);
  await Promise.all(others.map(one => caches.delete(one))); // the weights of an older build
  return caches.open(name);
}
