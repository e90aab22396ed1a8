"""Calls of a graph that take too much time or memory are given up, and none of this is lost on what fits."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import weakref
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
from made_exports import made_export, note
from onnx import TensorProto, helper, numpy_helper

import siamtrack
from siamtrack.runtime.guard import Bounds, Guard, is_computing

FRAME = np.zeros((60, 80, 3), np.uint8)
BOX = (10.0, 12.0, 20.0, 16.0)
ROOMY = Bounds(60, 1 << 30)


def busy(seconds: float) -> str:
    """Keep a processor busy."""
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass
    return "done"


def looping(path: Path, turn: onnx.NodeProto) -> Path:
    """The mover with a loop without an end, each turn of which makes "next" of "state"."""
    model = onnx.load(made_export(path, note()))
    info = helper.make_tensor_value_info
    loop = helper.make_graph(
        [turn, helper.make_node("Identity", ["going"], ["goes"])], "loop",
        [info("i", TensorProto.INT64, []), info("going", TensorProto.BOOL, []), info("state", TensorProto.FLOAT, None)],
        [info("goes", TensorProto.BOOL, []), info("next", TensorProto.FLOAT, None)],
    )  # fmt: skip
    for name, value in (("trips", np.int64(2**62)), ("yes", np.bool_(True))):
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    for node in model.graph.node:
        if "tracked" in node.output:
            node.output[list(node.output).index("tracked")] = "before"
    model.graph.node.extend([
        helper.make_node("Loop", ["trips", "yes", "before"], ["end"], body=loop),
        helper.make_node("ReduceMax", ["end"], ["most"], keepdims=0),
        helper.make_node("Add", ["before", "most"], ["tracked"]),
    ])  # fmt: skip
    path.write_bytes(model.SerializeToString())
    return path


def told(path: Path, runtime: str) -> str:
    """What the command line says of a model; it ends with code 2."""
    frame = path.parent / "frame.ppm"
    frame.write_bytes(b"P6 80 60 255\n" + FRAME.tobytes())
    words = ["track", frame.name, "--box", "10,12,20,16", "--model", path.name, "--engine", runtime]
    ended = subprocess.run(
        [sys.executable, "-m", "siamtrack", *words], cwd=path.parent, capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 2, ended.stderr
    (line,) = ended.stderr.splitlines()
    return line


def test_what_a_call_returns_or_raises_is_the_callers() -> None:
    guard = Guard()
    assert guard.run(lambda: 7, list, ROOMY) == 7
    with pytest.raises(KeyError, match="a name"):
        guard.run(lambda: {}["a name"], list, ROOMY)
    assert guard.run(lambda: busy(0.1), list, ROOMY) == "done"


def test_what_ran_well_three_times_runs_in_the_callers_thread() -> None:
    guard, threads = Guard(), []
    for kind in (1, 1, 1, 1, 2, 1, None, None, None, None):
        guard.run(lambda: threads.append(threading.current_thread()), list, ROOMY, kind)
    here = [thread is threading.current_thread() for thread in threads]
    assert here == [False, False, False, True, False, True, False, False, False, False]
    for _ in range(9):  # what fails did not run well
        with pytest.raises(KeyError):
            guard.run(lambda: {}[threads.append(threading.current_thread())], list, ROOMY, 3)
    assert threading.current_thread() not in threads[-9:]


def test_calls_from_several_threads_at_once_get_their_own_answers() -> None:
    guard, found = Guard(), {}

    def call(number: int) -> None:
        def answer(turn: int) -> tuple[int, int]:
            time.sleep(0.001)
            return number, turn

        found[number] = [guard.run(partial(answer, turn), list, ROOMY) for turn in range(20)]

    threads = [threading.Thread(target=call, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {number: [(number, turn) for turn in range(20)] for number in range(8)}


def test_a_call_that_is_not_done_in_time_is_stopped_and_later_ones_are_refused() -> None:
    guard, stopped = Guard(), threading.Event()

    def endless() -> None:
        while not stopped.is_set():
            busy(0.01)

    with pytest.raises(RuntimeError, match="it was not done after 1 s"):
        guard.run(endless, stopped.set, Bounds(0.6, 1 << 30))
    assert stopped.is_set()
    with pytest.raises(RuntimeError, match="it was not done after 1 s"):
        guard.run(lambda: 7, list, ROOMY)


def test_time_in_which_the_processor_is_somewhere_else_does_not_count() -> None:
    assert Guard().run(lambda: time.sleep(0.5) or 7, list, Bounds(0.1, 1 << 30)) == 7


def test_whether_a_call_that_was_given_up_goes_on_is_known() -> None:
    ending = threading.Event()

    def deaf() -> None:
        while not ending.is_set():
            busy(0.01)

    assert not is_computing()
    with pytest.raises(RuntimeError, match="not done"):
        Guard().run(deaf, list, Bounds(0.2, 1 << 30))
    assert is_computing()
    ending.set()
    deadline = time.monotonic() + 10
    while is_computing() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not is_computing()


@pytest.mark.skipif(sys.platform != "linux", reason="memory is looked at under Linux")
def test_a_call_that_takes_too_much_memory_is_given_up() -> None:
    held: list[np.ndarray] = []
    stopped = threading.Event()

    def greedy() -> None:
        while not stopped.is_set():
            held.append(np.ones(1 << 22, np.uint8))
            time.sleep(0.002)

    with pytest.raises(RuntimeError, match="it takes more than 64 MB of memory"):
        Guard().run(greedy, stopped.set, Bounds(60, 64 << 20))
    assert len(held) < 128


def test_threads_end_with_their_guard() -> None:
    before = set(threading.enumerate())
    guard = Guard()
    guard.run(lambda: 7, list, ROOMY)
    (own,) = set(threading.enumerate()) - before
    gone = weakref.ref(guard)
    del guard
    assert gone() is None
    own.join(5)
    assert not own.is_alive()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_tracker_goes_on_in_a_forked_process(tmp_path: Path) -> None:
    tracker = siamtrack.load(made_export(tmp_path / "mover.onnx", note()), threads=1)
    tracker.init(FRAME, BOX)
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if tracker.update(FRAME).box.x == 13 else 1)
        finally:
            os._exit(2)
    deadline = time.monotonic() + 20
    while os.waitpid(child, os.WNOHANG)[0] == 0:
        if time.monotonic() > deadline:
            os.kill(child, 9)
            os.waitpid(child, 0)
            pytest.fail("it hangs")
        time.sleep(0.01)
    assert tracker.update(FRAME).box.x == 13


def test_a_graph_without_an_end_is_told(tmp_path: Path) -> None:
    path = looping(tmp_path / "endless.onnx", helper.make_node("Abs", ["state"], ["next"]))
    assert told(path, "onnxruntime") == "siamtrack: endless.onnx: onnxruntime cannot run it: it was not done after 12 s"


@pytest.mark.skipif(sys.platform != "linux", reason="memory is looked at under Linux")
@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_a_graph_that_grows_without_an_end_is_told(runtime: str, tmp_path: Path) -> None:
    pytest.importorskip(runtime)
    double = helper.make_node("Concat", ["state", "state"], ["next"], axis=0)
    path = looping(tmp_path / "growing.onnx", double)
    assert (
        told(path, runtime) == f"siamtrack: growing.onnx: {runtime} cannot run it: it takes more than 1064 MB of memory"
    )
