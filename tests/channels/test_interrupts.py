"""Interrupts (Ctrl-C, Jupyter's stop button): whenever one comes, the model is left as it was."""

import os
import random
import signal
import sys
import threading
import time
from contextlib import contextmanager
from queue import Empty

import pytest
import torch
from jupyter_client.manager import start_new_kernel

import th_utils as th
from th_utils.interrupts import uninterrupted

# What runs at the beginning and the end of an edit; the bridge's and torch's arithmetic is called from there.
ENDS = tuple(os.sep + name for name in ("edits.py", "interrupts.py", "contextlib.py", "_contextlib.py", "grad_mode.py"))


@pytest.fixture(autouse=True)
def ordinary_handler():
    """Ctrl-C raises KeyboardInterrupt, as in a cell; every test has to leave it so."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.signal(signal.SIGINT, before) is signal.default_int_handler


class Striking:
    """In the block SIGINT comes before the n-th instruction of the files in `ENDS`, or before all from there on."""

    def __init__(self, n: int, on: bool = False):
        self.n, self.on, self.seen = n, on, 0

    def trace(self, frame, event, argument):
        if not frame.f_code.co_filename.endswith(ENDS):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if event in ("call", "opcode"):
            self.seen += 1
            if self.seen == self.n or (self.on and self.seen > self.n):
                signal.raise_signal(signal.SIGINT)  # handled before it returns
        return self.trace

    def __enter__(self):
        sys.settrace(self.trace)
        return self

    def __exit__(self, *error):
        sys.settrace(None)


def strikes(block, step: int = 1, on: bool = False):
    """Run `block` again and again, each time interrupted `step` instructions later, until it is too late for that."""
    for n in range(1, 10**6, step):
        try:
            with Striking(n, on) as strike:
                block()
        except KeyboardInterrupt:
            yield n
        else:
            assert strike.seen < n, f"the interrupt before instruction {n} was lost"
            return


def state(model):
    """Copies of all parameters, and whether gradients are on."""
    return {name: value.clone() for name, value in model.original_model.state_dict().items()}


def same(model, before) -> bool:
    after = model.original_model.state_dict()
    return after.keys() == before.keys() and all(torch.equal(after[name], before[name]) for name in before)


def some_edits(model):
    """Of W_O and b_O; Llama has no b_O, so it gets one."""
    weights = th.head_weights(model)
    return th.set_component(weights, th.channel(weights, th.decompose_ov(weights), [(1, 2, 0)]), 2.0)


@pytest.mark.parametrize("on", [False, True], ids=["one interrupt", "interrupts without end"])
def test_an_edit_is_undone_wherever_its_beginning_or_its_end_is_interrupted(model, on):
    """Before every fifth instruction; and, from every thirteenth on, before all that follow."""
    edits, before = some_edits(model), state(model)

    def block():
        with th.edited(model, edits):
            pass

    count = 0
    for n in strikes(block, step=13 if on else 5, on=on):
        assert same(model, before), f"weights differ after an interrupt before instruction {n}"
        assert torch.is_grad_enabled(), n
        count += 1
    assert count > 30
    with th.edited(model, edits):
        assert not same(model, before)
    assert same(model, before)


@contextmanager
def noted(log: list):
    log.append("done")
    try:
        yield
    finally:
        log.remove("done")


def test_without_protection_the_same_strikes_leave_something_behind():
    """The control: what `uninterrupted` is for happens to a plain context manager."""

    def left(make) -> int:
        logs = []

        def block():
            logs.append([])
            manager = make(logs[-1])
            kept.append(manager)  # as a traceback does, in a notebook: nothing is cleaned up by chance
            with manager:
                pass

        kept = []
        for _ in strikes(block):
            pass
        return sum(log != [] for log in logs)

    assert left(noted) > 3
    assert left(uninterrupted(noted)) == 0


def test_an_interrupt_inside_the_block_acts_at_once():
    log, after = [], []
    protected = uninterrupted(noted)
    with pytest.raises(KeyboardInterrupt):
        with protected(log), protected(log):
            assert log == ["done", "done"]
            signal.raise_signal(signal.SIGINT)
            after.append("too late")
    assert log == after == []


def test_an_error_at_the_beginning_of_a_block_gives_the_handler_back():
    @uninterrupted
    @contextmanager
    def broken():
        raise RuntimeError("no")
        yield

    with pytest.raises(RuntimeError, match="no"), broken():
        pass
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("handler", [signal.SIG_IGN, lambda number, frame: None], ids=["ignored", "not raising"])
def test_who_has_another_handler_keeps_it(handler):
    log = []
    signal.signal(signal.SIGINT, handler)
    try:
        with uninterrupted(noted)(log):
            signal.raise_signal(signal.SIGINT)
            assert log == ["done"]
        assert log == [] and signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def test_edits_work_in_other_threads(tiny):
    model = tiny("tiny-gpt2")
    edits, before, seen = some_edits(model), state(model), []

    def work():
        with th.edited(model, edits):
            seen.append(same(model, before))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [False] and same(model, before)


# --- in a kernel, with the signal that the stop button sends ---

SET_UP = """
import torch
import th_utils as th
from th_utils.tasks import ioi

th.setup()
model = th.load_model()
weights = th.head_weights(model)
prompts = ioi.generate(model, 4, seed=0)
base = th.run(model, prompts, keep=0)
target = th.channel(weights, th.decompose_ov(weights), [(1, 2, 0), (2, 0, 1)])
edits = [*th.set_component(weights, target, 2.0), th.scale_query(weights, (0, 0), 3.0)]

def state():
    return {name: value.clone() for name, value in model.original_model.state_dict().items()}

before, plain = state(), th.logits(model, base)

def verdict():
    after = state()
    if after.keys() != before.keys():
        return f"parameters {sorted(after.keys() ^ before.keys())}"
    if changed := [name for name in before if not torch.equal(after[name], before[name])]:
        return f"changed {changed}"
    if hooked := [name for name, point in model.hook_dict.items() if point.fwd_hooks or point.bwd_hooks]:
        return f"hooks at {hooked}"
    if torch.is_grad_enabled():
        return "gradients are on"
    if not torch.equal(th.logits(model, th.run(model, prompts)), plain):
        return "other logits"
    return f"as before, {turns} turns"
"""
LOOP = """
turns = 0
while True:
    turns += 1
    with th.edited(model, edits):
        with th.edited(model, th.scale_head(weights, (1, 1), 0.5)):
            pass
        {work}
"""
WORK = {
    "edits": "pass",
    "whole runs": "th.run(model, prompts, 'all', target.scale(-1.0))",
    "last tokens": "th.rerun_last(model, th.rerun(model, base), target.zero())",
    "TransformerLens": "model.run_with_hooks(prompts.tokens, fwd_hooks=target.zero())",
}


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    env = os.environ | {"TH_MODEL": "tiny-llama", "OMP_NUM_THREADS": "1", "TH_STATIC": "1"}
    folder = tmp_path_factory.mktemp("kernel")
    env |= {"IPYTHONDIR": str(folder / "ipython"), "JUPYTER_RUNTIME_DIR": str(folder / "runtime")}
    manager, client = start_new_kernel(kernel_name="python3", env=env, cwd=str(folder))
    yield manager, client
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def ask(client, code: str, **options) -> dict:
    options |= {"store_history": False, "timeout": 120, "output_hook": lambda _: None}
    return client.execute_interactive(code, **options)["content"]


@pytest.mark.parametrize("work", WORK)
def test_a_cell_stopped_at_any_moment_leaves_the_model_unedited(kernel, work):
    """Real signals at random moments of a loop over edits; the next cell finds weights, hooks and logits as before."""
    manager, client = kernel
    assert ask(client, SET_UP)["status"] == "ok"
    draw, seen = random.Random(work), 0
    for _ in range(15):
        message = client.execute(LOOP.format(work=WORK[work]), store_history=False, stop_on_error=False)
        time.sleep(draw.uniform(0.005, 0.06))
        for _ in range(5):  # a signal before the cell has begun is ignored
            manager.interrupt_kernel()
            if (reply := reply_to(client, message, wait=2)) is not None:
                assert reply["ename"] == "KeyboardInterrupt", reply
                break
        # Without a reply the signal fell into the kernel's own code around the cell, where it loses the reply.
        replies = (ask(client, "", user_expressions={"found": "verdict()"}) for _ in range(3))
        # On a slow machine the last signal may come so late that it stops the question instead.
        found = next(one["user_expressions"]["found"] for one in replies if one["status"] == "ok")
        assert found["status"] == "ok" and found["data"]["text/plain"].startswith("'as before"), found
        seen += int(found["data"]["text/plain"].split()[2])
    assert seen > 15, "the loop must have been under way"


def reply_to(client, message: str, wait: float) -> dict | None:
    deadline = time.monotonic() + wait
    while (left := deadline - time.monotonic()) > 0:
        try:
            reply = client.get_shell_msg(timeout=left)
        except Empty:
            return None
        if reply["parent_header"].get("msg_id") == message:
            return reply["content"]
    return None
