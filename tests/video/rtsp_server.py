"""An RTSP server for the tests: GStreamer's, run by the Python that has its bindings; each frame shows its time.

    python3 rtsp_server.py PORT SECONDS

Frames are 320x240 at 30 a second, h264. Bit k of the time at which a frame was made, in milliseconds since 1970 modulo
2 ** 32, is the block k of the upper half, white for 1; the lower half has a square that moves.
"""

import sys
import threading
import time

WIDTH, HEIGHT, FPS, BITS = 320, 240, 30, 32


def picture(count: int) -> bytes:
    stamp = int(time.time() * 1000) % (1 << BITS)
    row = b"".join((b"\xeb" if stamp >> bit & 1 else b"\x10") * (WIDTH // BITS) for bit in range(BITS))
    left = count % (WIDTH - 40)
    ground = b"\x50" * WIDTH
    square = b"\x50" * left + b"\xc0\x30" * 20 + b"\x50" * (WIDTH - 40 - left)
    return row * (HEIGHT // 2) + ground * 40 + square * 40 + ground * (HEIGHT // 2 - 80)


def main(port: str, seconds: float) -> None:
    import gi

    gi.require_version("Gst", "1.0")
    gi.require_version("GstRtspServer", "1.0")
    from gi.repository import GLib, Gst, GstRtspServer

    Gst.init(None)
    server = GstRtspServer.RTSPServer(service=port, address="127.0.0.1")
    factory = GstRtspServer.RTSPMediaFactory(shared=True)
    factory.set_launch(
        f"( appsrc name=src is-live=true do-timestamp=true format=time "
        f"caps=video/x-raw,format=GRAY8,width={WIDTH},height={HEIGHT},framerate={FPS}/1 ! videoconvert ! "
        "video/x-raw,format=I420 ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=30 bitrate=3000 ! "
        "rtph264pay name=pay0 pt=96 config-interval=1 )"
    )

    def push(source: object) -> None:
        count, began = 0, time.monotonic()
        while source.emit("push-buffer", Gst.Buffer.new_wrapped(picture(count))) == Gst.FlowReturn.OK:
            count += 1
            time.sleep(max(0.0, began + count / FPS - time.monotonic()))

    def configured(_: object, media: object) -> None:
        source = media.get_element().get_by_name_recurse_up("src")
        threading.Thread(target=push, args=(source,), daemon=True).start()

    factory.connect("media-configure", configured)
    server.get_mount_points().add_factory("/live", factory)
    server.attach(None)
    loop = GLib.MainLoop()
    GLib.timeout_add(int(seconds * 1000), loop.quit)
    print("ready", flush=True)
    loop.run()


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
