"""A network camera: GStreamer's RTSP server, with a picture that shows the time.

The system's Python runs it, which knows GStreamer (Debian: ``python3-gi`` and
``gir1.2-gst-rtsp-server-1.0``); `tests.live.rtsp_camera` starts it. It prints its port once it
listens. Each line on stdin is for how many seconds it sends no pictures. A picture has the time at
which it was made, ``time.monotonic()`` in milliseconds, as 32 dark and bright cells, the highest
bit first, in two rows of 16 at the top.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from typing import Any

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gio, GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

ENCODERS = {
    "h264": "openh264enc complexity=low gop-size={fps} ! rtph264pay config-interval=-1 name=pay0",
    "h265": (
        "x265enc tune=zerolatency speed-preset=ultrafast key-int-max={fps}"
        " ! rtph265pay config-interval=-1 name=pay0"
    ),
    "mjpeg": "jpegenc quality=80 ! rtpjpegpay name=pay0",
}
LIVE = "is-live=true do-timestamp=true format=time max-bytes=0"
SOUND = f" appsrc name=sound {LIVE} caps=audio/x-alaw,rate=8000,channels=1 ! rtppcmapay name=pay1"
SOUND_RATE = 8000
TRANSPORTS = {
    "both": GstRtsp.RTSPLowerTrans.TCP | GstRtsp.RTSPLowerTrans.UDP,
    "tcp": GstRtsp.RTSPLowerTrans.TCP,
    "udp": GstRtsp.RTSPLowerTrans.UDP,
}
ROLE = "user, media.factory.access=(boolean)true, media.factory.construct=(boolean)true"


class Pictures:
    """Pushes pictures, and silence if there is sound, into the stream that is played."""

    def __init__(self, width: int, height: int, fps: int) -> None:
        self._width, self._cell, self._fps = width, width // 16, fps
        ramp = bytes(60 + x * 120 // width for x in range(width))
        self._rest = ramp * (height - 2 * self._cell) + b"\x80" * (width * height // 2)
        self._pictures: Any = None
        self._sound: Any = None
        self.silent_until = 0.0

    def configure(self, _: Any, media: Any) -> None:
        """Called for each new stream; there is one for all who watch."""
        stream = media.get_element()
        self._sound = stream.get_child_by_name("sound")
        self._pictures = stream.get_child_by_name("pictures")

    def _picture(self) -> bytes:
        now = int(time.monotonic() * 1000) & 0xFFFFFFFF
        cells = [(b"\xe0" if now >> bit & 1 else b"\x20") * self._cell for bit in range(31, -1, -1)]
        rows = (b"".join(half) * self._cell for half in (cells[:16], cells[16:]))
        return b"".join(rows) + self._rest

    def _plays(self) -> bool:
        """Before, buffers would get time stamps of another clock, and wait for hours."""
        sources = [source for source in (self._pictures, self._sound) if source is not None]
        states = [source.get_state(0).state for source in sources]
        return bool(states) and all(state == Gst.State.PLAYING for state in states)

    def run(self) -> None:
        due = time.monotonic()
        while True:
            due = max(due + 1 / self._fps, time.monotonic())
            time.sleep(max(0.0, due - time.monotonic()))
            if not self._plays() or time.monotonic() < self.silent_until:
                continue
            self._pictures.emit("push-buffer", Gst.Buffer.new_wrapped(self._picture()))
            if self._sound is not None:
                silence = b"\xd5" * (SOUND_RATE // self._fps)
                self._sound.emit("push-buffer", Gst.Buffer.new_wrapped(silence))


def encrypt(server: Any, factory: Any, certificate: str, key: str) -> None:
    """Speaks TLS, and asks for no login."""
    auth, token = GstRtspServer.RTSPAuth(), GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "user")
    auth.set_tls_certificate(Gio.TlsCertificate.new_from_files(certificate, key))
    auth.set_default_token(token)
    allow(server, factory, auth)


def protect(server: Any, factory: Any, kind: str, user: str, password: str) -> None:
    """Asks for a login, ``basic`` or ``digest``."""
    auth, token = GstRtspServer.RTSPAuth(), GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "user")
    if kind == "digest":
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
        auth.add_digest(user, password, token)
    else:
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
    allow(server, factory, auth)


def allow(server: Any, factory: Any, auth: Any) -> None:
    """Lets the role ``user`` watch."""
    server.set_auth(auth)
    role = Gst.Structure.new_from_string(ROLE)
    factory.add_role_from_structure(role[0] if isinstance(role, tuple) else role)


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", default="0")
    parser.add_argument("--codec", choices=ENCODERS, default="h264")
    parser.add_argument("--size", default="640x480")
    parser.add_argument("--fps", type=int, default=25)
    parser.add_argument("--login", choices=("none", "basic", "digest"), default="none")
    parser.add_argument("--user", default="user")
    parser.add_argument("--password", default="")
    parser.add_argument("--certificate", nargs=2, metavar=("PEM", "KEY"), help="for rtsps")
    parser.add_argument("--sound", action="store_true")
    parser.add_argument("--transport", choices=TRANSPORTS, default="both")
    return parser.parse_args()


def main() -> None:
    options = read_options()
    width, height = map(int, options.size.split("x"))
    Gst.init(None)
    pictures = Pictures(width, height, options.fps)
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(
        f"( appsrc name=pictures {LIVE} caps=video/x-raw,format=I420,width={width}"
        f",height={height},framerate={options.fps}/1"
        f" ! {ENCODERS[options.codec].format(fps=options.fps)}{SOUND * options.sound} )"
    )
    factory.set_shared(True)
    factory.set_protocols(TRANSPORTS[options.transport])
    factory.connect("media-configure", pictures.configure)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(options.port)
    if options.certificate:
        encrypt(server, factory, *options.certificate)
    if options.login != "none":
        protect(server, factory, options.login, options.user, options.password)
    server.get_mount_points().add_factory("/live", factory)
    server.attach(None)
    print(server.get_bound_port(), flush=True)

    def listen() -> None:
        for line in sys.stdin:
            pictures.silent_until = time.monotonic() + float(line)

    threading.Thread(target=listen, daemon=True).start()
    threading.Thread(target=pictures.run, daemon=True).start()
    GLib.MainLoop().run()


if __name__ == "__main__":
    main()
