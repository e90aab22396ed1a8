// Follows targets on the server that the page came from: frames and boxes come over one socket.

export class ServerEngine {
  #socket;
  #waiting = new Map();
  #ids = 0;

  constructor(about) {
    this.model = about.model;
    this.labels = about.labels;
    this.choices = { given: about.given, files: about.files, camera: true, stream: true, upload: true };
    this.limit = about.upload_limit;
    this.formats = about.formats;
  }

  /** Open a source, {kind, name} or {kind: "upload", files}; returns {name, width, height, fps, count, live, images}. */
  async open(source, progress) {
    const { kind, name = "", files } = source;
    const known = kind === "upload" ? await this.#upload(files, progress) : name;
    const { about } = await this.#ask({ do: "open", kind, name: known });
    if (kind === "upload") {
      about.name = files.length > 1 ? `${files.length} images` : files[0].name;
      if (about.images.length) about.images = files.map((file) => file.name);
    }
    return about;
  }

  /** A frame as {image}, or null after the last one. */
  async show(number) {
    const { about, image } = await this.#ask({ do: "show", number });
    return about.end ? null : { image: await image };
  }

  /** Follow targets from a frame into the next; {image, found, seconds}, or null after the last one. */
  async step(number, { given, kept }) {
    const begun = given.map(([key, box]) => ({ key, box }));
    const { about, image } = await this.#ask({ do: "step", number, given: begun, kept });
    return about.end ? null : { image: await image, found: about.found, seconds: about.seconds };
  }

  /** A run's rows as a file of a format: {name, blob}. */
  async pack(kind, rows, { name, width, height, fps, count, images, labels }) {
    const listed = rows.map((row) => [row.frame, row.target, row.box, row.score, row.presence, row.status]);
    const body = JSON.stringify({ name, size: [width, height], fps, count, images, labels, rows: listed });
    const reply = await fetch(`boxes/${kind}`, { method: "POST", body });
    if (!reply.ok) throw new Error((await reply.json().catch(() => ({ error: reply.statusText }))).error);
    const [, file] = reply.headers.get("content-disposition").match(/filename="(.+)"/);
    return { name: file, blob: await reply.blob() };
  }

  async #upload(files, progress) {
    const total = files.reduce((sum, file) => sum + file.size, 0);
    if (total > this.limit) throw new Error(`These files have more than ${Math.round(this.limit / 2 ** 20)} MB.`);
    let id = null;
    for (const [index, file] of files.entries()) {
      progress?.(`Sending ${index + 1} of ${files.length} …`);
      const reply = await fetch(id ? `uploads?into=${encodeURIComponent(id)}` : "uploads", {
        method: "POST",
        body: file,
      });
      const about = await reply.json().catch(() => ({ error: reply.statusText }));
      if (!reply.ok) throw new Error(about.error);
      id = about.id;
    }
    return id;
  }

  async #ask(message) {
    const socket = await this.#connected();
    const id = ++this.#ids;
    return new Promise((done, failed) => {
      this.#waiting.set(id, { done, failed });
      socket.send(JSON.stringify({ id, ...message }));
    });
  }

  #connected() {
    if (this.#socket) return this.#socket;
    const address = new URL("follow", document.baseURI);
    address.protocol = address.protocol.replace("http", "ws");
    const socket = new WebSocket(address);
    socket.binaryType = "arraybuffer";
    socket.onmessage = ({ data }) => this.#answered(data);
    this.#socket = new Promise((done, failed) => {
      socket.onopen = () => done(socket);
      socket.onclose = ({ reason }) => {
        const error = new Error(reason || "The connection to the server was lost; open the source again.");
        this.#socket = undefined;
        failed(error);
        for (const waiting of this.#waiting.values()) waiting.failed(error);
        this.#waiting.clear();
      };
    });
    return this.#socket;
  }

  #answered(data) {
    const length = new DataView(data).getUint32(0, true);
    const about = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, length)));
    const waiting = this.#waiting.get(about.id);
    this.#waiting.delete(about.id);
    if (!waiting) return;
    if (about.error) waiting.failed(new Error(about.error));
    else {
      const picture = data.byteLength > 4 + length && new Blob([new Uint8Array(data, 4 + length)], { type: "image/jpeg" });
      waiting.done({ about, image: picture ? createImageBitmap(picture) : null });
    }
  }
}
