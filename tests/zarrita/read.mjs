// Reads every array of a Zarr v3 store with zarrita.js. The store is at the other end of the pipe: each line written is
// a question {id, key, start, stop}, each line read its answer {id, value}, value in base64 or null. The last line
// written is {arrays}: what was read.
import { createInterface } from "node:readline";
import * as zarr from "zarrita";

const waiting = new Map();
let asked = 0;

function ask(key, start = null, stop = null) {
  const id = asked++;
  process.stdout.write(`${JSON.stringify({ id, key: key.slice(1), start, stop })}\n`);
  return new Promise((resolve) => waiting.set(id, resolve));
}

const lines = createInterface({ input: process.stdin });
lines.on("line", (line) => {
  const { id, value } = JSON.parse(line);
  // zarrita's vlen-utf8 reads the underlying buffer from its start, so the bytes must begin there
  waiting.get(id)(value === null ? undefined : Uint8Array.from(Buffer.from(value, "base64")));
  waiting.delete(id);
});

const store = {
  get: (key) => ask(key),
  getRange: (key, range) =>
    "suffixLength" in range ? ask(key, -range.suffixLength) : ask(key, range.offset, range.offset + range.length),
};

function shown(read) {
  if (typeof read !== "object") return { type: typeof read, shape: [], texts: [String(read)] }; // of a scalar array
  const { data, shape } = read;
  if (Array.isArray(data)) return { type: "Array", shape, values: data };
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString("base64");
  return { type: data.constructor.name, shape, bytes, texts: Array.from(data, String) };
}

const consolidated = await zarr.withConsolidatedMetadata(store, { format: "v3" });
const group = await zarr.open.v3(consolidated, { kind: "group" });
const arrays = {};
for (const { path, kind } of consolidated.contents()) {
  if (kind !== "array") continue;
  const array = await zarr.open.v3(group.resolve(path), { kind: "array" });
  arrays[path.slice(1)] = { ...shown(await zarr.get(array)), attrs: array.attrs, chunks: array.chunks };
}
const v = await zarr.open.v3(group.resolve("f4"), { kind: "array" });
const part = shown(await zarr.get(v, [zarr.slice(1, 4), 6]));
process.stdout.write(`${JSON.stringify({ arrays, part })}\n`);
lines.close();
