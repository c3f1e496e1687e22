// Many files as one: a ZIP archive, deflated by the browser.

const TABLE = Uint32Array.from({ length: 256 }, (_, number) => {
  for (let bit = 0; bit < 8; bit++) number = number & 1 ? (number >>> 1) ^ 0xedb88320 : number >>> 1;
  return number;
});

function checksum(data) {
  let found = 0xffffffff;
  for (const one of data) found = (found >>> 8) ^ TABLE[(found ^ one) & 0xff];
  return (found ^ 0xffffffff) >>> 0;
}

async function deflated(data) {
  const stream = new Blob([data]).stream().pipeThrough(new CompressionStream("deflate-raw"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

function fields(...pairs) {
  const view = new DataView(new ArrayBuffer(pairs.reduce((sum, [size]) => sum + size, 0)));
  let place = 0;
  for (const [size, value] of pairs) {
    if (size === 2) view.setUint16(place, value, true);
    else view.setUint32(place, value, true);
    place += size;
  }
  return view;
}

/**
 * Put texts into an archive.
 *
 * @param {Iterable<[string, string]>} files Name and text.
 * @param {Date} when
 * @returns {Promise<Blob>}
 */
export async function zipped(files, when = new Date()) {
  const date = ((when.getFullYear() - 1980) << 9) | ((when.getMonth() + 1) << 5) | when.getDate();
  const time = (when.getHours() << 11) | (when.getMinutes() << 5) | (when.getSeconds() >> 1);
  const [parts, index] = [[], []];
  let offset = 0;
  let size = 0;
  for (const [name, text] of files) {
    const [label, data] = [new TextEncoder().encode(name), new TextEncoder().encode(text)];
    const packed = await deflated(data);
    // Version, flags (names are UTF-8), method, time, date, checksum, both sizes, length of the name, of what is extra.
    const common = [[2, 20], [2, 0x800], [2, 8], [2, time], [2, date], [4, checksum(data)], [4, packed.length], [4, data.length], [2, label.length], [2, 0]];
    const head = fields([4, 0x04034b50], ...common);
    const entry = fields([4, 0x02014b50], [2, 20], ...common, [2, 0], [2, 0], [2, 0], [4, 0], [4, offset]);
    parts.push(head, label, packed);
    index.push(entry, label);
    offset += head.byteLength + label.length + packed.length;
    size += entry.byteLength + label.length;
  }
  const number = index.length / 2;
  return new Blob([...parts, ...index, fields([4, 0x06054b50], [2, 0], [2, 0], [2, number], [2, number], [4, size], [4, offset], [2, 0])], { type: "application/zip" });
}
