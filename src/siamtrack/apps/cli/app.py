"""`siamtrack app`: the live page, from a server on this machine or as static files that need none."""

from __future__ import annotations

import contextlib
import logging
import secrets
import signal
import socket
import tempfile
import threading
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from siamtrack.apps.cli.export import check_model
from siamtrack.apps.cli.interrupts import Interrupts, ends_at_once
from siamtrack.apps.cli.options import Device, Engine, Model, Overwrite, PresetName, Settings, Threads, parse_settings
from siamtrack.apps.cli.progress import loading
from siamtrack.errors import InputError, missing_package, reason
from siamtrack.presets import DEFAULT_MODEL, packaged_export

_PORT = 8447


def app_command(
    source: Annotated[
        str | None, typer.Argument(help="A video file, a folder of images, a camera's number or a URL.")
    ] = None,
    model: Model = DEFAULT_MODEL,
    preset: PresetName = None,
    settings: Settings = None,
    device: Device = "cpu",
    engine: Engine = "auto",
    threads: Threads = None,
    host: Annotated[
        str, typer.Option(metavar="HOST", help="Listen on this address; others than this machine's own need a token.")
    ] = "127.0.0.1",
    port: Annotated[
        int | None, typer.Option(metavar="N", min=1, max=65535, help="8447, or if that is taken any free one.")
    ] = None,
    files: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Offer the videos and folders of images in DIR too.")
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="The class of new targets; repeat it for a list to choose from."),
    ] = None,
    upload_limit: Annotated[int, typer.Option(metavar="MB", min=1, help="For all uploads together.")] = 2048,
    browser: Annotated[bool, typer.Option(help="Open the page in a browser.")] = True,
    static: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Start no server: write the page for any web server into DIR.")
    ] = None,
    runtime: Annotated[
        Path | None,
        typer.Option("--onnxruntime-web", metavar="DIR", help="With --static, that npm package; else npm fetches it."),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Follow targets live on a page: draw boxes, watch, pause, correct, download.

    The page is for this machine alone unless --host says otherwise; then it needs the token that is printed. With
    --static the tracker runs in the browser.
    """
    labels = label or ["object"]
    if not all(name.strip() and len(name) <= 100 for name in labels):
        raise InputError("--label expects a name of 1 to 100 characters")
    if static is not None:
        if source is not None or files is not None:
            raise InputError("with --static the page opens what is on the device that shows it: leave out the source")
        _write_static(static, overwrite, model, preset, settings, runtime, labels)
        return
    with ends_at_once(), loading(model):
        try:
            import uvicorn

            from siamtrack.apps.page import server
        except ModuleNotFoundError as error:
            raise missing_package("the page", "starlette uvicorn websockets", "app") from error
        from siamtrack.apps.page.guard import is_loopback
        from siamtrack.apps.page.places import Places, Uploads
        from siamtrack.video.reader import open_source
        from siamtrack.zoo import open_engine

        if source is not None and "://" not in source and not source.isdecimal():
            with open_source(source):  # a file that cannot be read is told here, not on the page
                pass
        if files is not None and not files.is_dir():
            raise InputError(f"--files expects a folder; got '{files}'")
        opened = open_engine(model, device, preset, parse_settings(settings or []), engine, threads)
        listening = _listen(host, port)
        token = None if is_loopback(host) else secrets.token_urlsafe(24)
    with listening, Interrupts() as interrupts, tempfile.TemporaryDirectory(prefix="siamtrack-") as folder:
        places = Places(source, files, Uploads(Path(folder), upload_limit << 20))
        offer = server.Settings(Path(model).stem, places, [host], token, labels)
        config = uvicorn.Config(
            server.make_app(opened, offer), log_level="warning", ws_max_size=server.LARGEST_MESSAGE, lifespan="off",
            server_header=False, timeout_graceful_shutdown=2, workers=1,
        )  # fmt: skip
        running = uvicorn.Server(config)
        interrupts.hold(lambda: setattr(running, "should_exit", True))
        address = _address(listening, token)
        typer.echo(f"the page is at {address} (Ctrl-C ends it)")
        # without descriptors for more connections it goes on with those that it has; asyncio would show a traceback
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)
        if browser:
            threading.Timer(0.5, webbrowser.open, [address]).start()
        running.run(sockets=[listening])
    if interrupts.came not in (0, signal.SIGINT):
        raise typer.Exit(128 + interrupts.came)


def _write_static(
    folder: Path,
    overwrite: bool,
    model: str,
    preset: str | None,
    settings: Sequence[str] | None,
    runtime: Path | None,
    labels: Sequence[str],
) -> None:
    from siamtrack.apps.page.static import check_static, write_static
    from siamtrack.io import check_writable, read_bytes

    check_static(folder, overwrite)
    check_writable(folder / "index.html")
    shipped = packaged_export(model)
    if Path(model).suffix == ".onnx":
        if preset or settings:
            raise InputError("an exported model has its settings in it: leave out --preset and --set")
        exported = read_bytes(Path(model))
    elif shipped and not (preset or settings):
        exported = read_bytes(shipped)
    else:
        check_model(model)
        with ends_at_once(), loading("torch"):
            from siamtrack.export import export_model
        exported = export_model(model, preset, parse_settings(settings or [])).SerializeToString()
    write_static(folder, exported, runtime, labels)
    typer.echo(f"the page is in {folder}: python -m http.server --bind 127.0.0.1 --directory {folder}")


def _address(listening: socket.socket, token: str | None) -> str:
    """Where the page is: by the address that the socket has, as a name such as localhost may mean several."""
    host, port = listening.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/" + (f"?token={token}" if token else "")


def _listen(host: str, port: int | None) -> socket.socket:
    """Open the port, or without one the usual port or any other."""
    if port is None:
        with contextlib.suppress(InputError):
            return _listen(host, _PORT)
        port = 0
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        found = socket.socket(family, kind, protocol)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
        found.listen(64)
    except (OSError, UnicodeError) as error:
        raise InputError(f"cannot listen on {host}, port {port}: {reason(error)}; choose another --port") from error
    return found
