// Frames of the browser's own sources by number: a video file, images, the device's camera. Nothing is sent anywhere.

const KEPT = 48; // of a camera's frames
const SLOW_SEEK = 45; // milliseconds, beyond which playing frame by frame is tried
const COMMON_RATES = [10, 12, 12.5, 15, 20, 23.976, 24, 25, 29.97, 30, 48, 50, 59.94, 60, 90, 100, 119.88, 120, 240];
const UNTOUCHED = { colorSpaceConversion: "none", premultiplyAlpha: "none" };

/** Open {kind: "upload", files} or {kind: "camera"}; the result has `about`, at(number) and close(). */
export async function openFrames({ kind, files }) {
  if (kind === "camera") return Camera.open();
  if (files.length === 1 && !isImage(files[0])) return Video.open(files[0]);
  if (!files.every(isImage)) throw new Error("Choose one video, or images only.");
  return Images.open(files);
}

const isImage = (file) => file.type.startsWith("image/");

class Images {
  #files;

  static async open(files) {
    const frames = new Images();
    frames.#files = files;
    const { width, height } = await frames.at(0);
    const images = files.map(({ name }) => name);
    frames.about = { name: `${files.length} images`, width, height, fps: 30, count: files.length, live: false, images };
    return frames;
  }

  async at(number) {
    const file = this.#files[number];
    if (!file) return null;
    const image = await createImageBitmap(file, UNTOUCHED).catch(() => {
      throw new Error(`${file.name} is not an image that can be read.`);
    });
    if (this.about && (image.width !== this.about.width || image.height !== this.about.height)) {
      throw new Error(`${file.name} has ${image.width}×${image.height} pixels, the first image another size.`);
    }
    return image;
  }

  close() {}
}

class Video {
  #video = Object.assign(document.createElement("video"), { muted: true, playsInline: true, preload: "auto" });
  #begin = 0; // time of the first frame
  #shown = -1; // number of the frame that the element shows
  #ahead = null; // {number, image}: the next frame, on its way
  #seeking = 0; // mean milliseconds
  #playing = true; // whether playing frame by frame keeps up

  static async open(file) {
    const frames = new Video();
    const video = frames.#video;
    video.src = URL.createObjectURL(file);
    await new Promise((done, failed) => {
      video.onloadeddata = done;
      video.onerror = () => failed(new Error(`${file.name} is not a video that this browser can play.`));
    });
    const fps = await frames.#measure();
    const { videoWidth: width, videoHeight: height, duration } = video;
    frames.about = { name: file.name, width, height, fps, count: null, live: false, images: [] };
    // By the last picture's time: the sound may go on after it. A file that is still being recorded has no duration.
    if (Number.isFinite(duration)) {
      const last = (await frames.#seek(duration)) ?? duration - 1 / fps;
      frames.about.count = frames.#number(last) + 1;
    }
    return frames;
  }

  async at(number) {
    const ahead = this.#ahead;
    this.#ahead = null;
    const before = await ahead?.image.catch(() => null);
    let image = ahead?.number === number ? before : null;
    if (image === null) {
      before?.close();
      image = await this.#go(number);
    }
    if (image) this.#ahead = { number: number + 1, image: this.#go(number + 1) };
    return image;
  }

  close() {
    this.#video.pause();
    URL.revokeObjectURL(this.#video.src);
    this.#video.removeAttribute("src");
    this.#video.load();
  }

  /** Find the rate by the times of some frames, and the time of the first one. */
  async #measure() {
    const video = this.#video;
    const times = [];
    await new Promise((done) => {
      const look = (_, { mediaTime }) => {
        times.push(mediaTime);
        if (times.length < 12) video.requestVideoFrameCallback(look);
        else done();
      };
      video.requestVideoFrameCallback(look);
      video.onended = done;
      video.play();
      setTimeout(done, 3000);
    });
    video.pause();
    video.onended = null;
    const gaps = times.slice(1).map((time, at) => time - times[at]).filter((gap) => gap > 1e-4);
    const frames = gaps.map((gap) => Math.round(gap / Math.min(...gaps))).reduce((sum, some) => sum + some, 0);
    const rate = gaps.length ? frames / gaps.reduce((sum, gap) => sum + gap, 0) : 30;
    const distance = (known) => Math.abs(known / rate - 1);
    const [common] = [...COMMON_RATES].sort((a, b) => distance(a) - distance(b));
    this.#begin = (await this.#seek(0)) ?? 0;
    return distance(common) < 0.003 ? common : rate;
  }

  #number(time) {
    return Math.max(0, Math.round((time - this.#begin) * this.about.fps));
  }

  /** The picture that is on display at a frame's time, also where that began earlier; null after the last one. */
  async #go(number) {
    const { fps, count } = this.about;
    if (count !== null && number >= count) return null;
    if (number === this.#shown + 1 && this.#seeking > SLOW_SEEK && this.#playing) {
      this.#shown = this.#number(await this.#playOn());
      this.#playing = this.#shown <= number; // else frames were left out, by the browser or by the file
    }
    for (let tries = 0; this.#shown !== number && tries < 3; tries++) {
      const began = performance.now();
      // Aimed at the middle of the frame: a time on its edge may show either neighbour.
      const time = await this.#seek(this.#begin + (number + 0.5 + 0.2 * tries) / fps);
      if (time !== null) this.#shown = this.#number(time);
      this.#seeking += (performance.now() - began - this.#seeking) / 8;
      if (this.#shown < number && this.#video.ended) return null;
    }
    if (this.#shown < number) this.#playing = true; // the file has no picture of that time
    return createImageBitmap(this.#video, UNTOUCHED);
  }

  /** Go to a time and return that of the frame which is shown then; null if it is the one that was shown before. */
  #seek(time) {
    const video = this.#video;
    return new Promise((done) => {
      const shown = video.requestVideoFrameCallback((_, { mediaTime }) => done(mediaTime));
      video.addEventListener(
        "seeked",
        () =>
          // Some browsers do not call back for the frame that was shown before.
          setTimeout(() => {
            video.cancelVideoFrameCallback(shown);
            done(null);
          }, 500),
        { once: true },
      );
      video.currentTime = Math.min(time, video.duration || time);
    });
  }

  #playOn() {
    const video = this.#video;
    return new Promise((done) => {
      const end = () => done(this.#begin + this.#shown / this.about.fps);
      video.requestVideoFrameCallback((_, { mediaTime }) => {
        video.pause();
        video.removeEventListener("ended", end);
        done(mediaTime);
      });
      video.addEventListener("ended", end, { once: true });
      video.play();
    });
  }
}

class Camera {
  #video = Object.assign(document.createElement("video"), { muted: true, playsInline: true });
  #stream;
  #kept = new Map();
  #next = 0;

  static async open() {
    const frames = new Camera();
    const wanted = { video: { facingMode: "environment", width: { ideal: 1280 }, height: { ideal: 720 } } };
    if (!navigator.mediaDevices) throw new Error("The browser gives cameras to https and localhost pages only.");
    frames.#stream = await navigator.mediaDevices.getUserMedia(wanted).catch((error) => {
      throw new Error(`The camera cannot be used: ${error.message}.`);
    });
    frames.#video.srcObject = frames.#stream;
    await frames.#video.play();
    const { videoWidth: width, videoHeight: height } = frames.#video;
    const { frameRate } = frames.#stream.getVideoTracks()[0].getSettings();
    frames.about = { name: "camera", width, height, fps: frameRate ?? 30, count: null, live: true, images: [] };
    return frames;
  }

  /** The newest frame, for the number after the last one; frames between two calls are left out. */
  async at(number) {
    if (number >= this.#next) {
      await new Promise((done) => this.#video.requestVideoFrameCallback(done));
      this.#kept.set(number, await createImageBitmap(this.#video));
      this.#next = number + 1;
      this.#kept.get(number - KEPT)?.close();
      this.#kept.delete(number - KEPT);
    }
    if (!this.#kept.has(number)) throw new Error(`Frame ${number} is not kept any more; go on from a later one.`);
    return createImageBitmap(this.#kept.get(number));
  }

  close() {
    for (const track of this.#stream.getTracks()) track.stop();
    for (const image of this.#kept.values()) image.close();
  }
}
