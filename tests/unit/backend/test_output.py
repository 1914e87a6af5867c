"""What a method prints and logs: to its caller in whole lines, bounded, and always where it went before."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import threading

from hypothesis import given
from hypothesis import strategies as st

from landbridge.backend.context import CurrentCall, current
from landbridge.backend.output import MESSAGE_CHARACTERS, CallOutput, capture


class Sent(list):
    """What was sent, and a clock that stands still until it is set."""

    now = 0.0

    def output(self) -> CallOutput:
        return CallOutput(lambda stream, text: self.append((stream, text)), lambda: self.now)

    def text(self, stream: str) -> str:
        return "".join(text for name, text in self if name == stream)


def call_with(output: CallOutput | None) -> CurrentCall:
    call = CurrentCall("lab/work.f", "awi/anna", "1", None, lambda *_: None, wants_log=output is not None)
    call._output = output
    return call


@contextlib.contextmanager
def capturing():
    end = capture()
    try:
        yield
    finally:
        end()
        current.set(None)


@given(st.lists(st.tuples(st.sampled_from(["stdout", "stderr"]), st.text("ab\n", max_size=30)), max_size=40))
def test_whatever_the_pieces_the_text_arrives_in_whole_lines(pieces):
    sent = Sent()
    output = sent.output()
    for stream, text in pieces:
        output.write(stream, text)
    assert all(text.endswith("\n") for _, text in sent)
    output.close()
    for stream in ("stdout", "stderr"):
        assert sent.text(stream) == "".join(text for name, text in pieces if name == stream)


def test_a_message_is_bounded_and_a_line_without_end_is_not_kept_for_ever():
    sent = Sent()
    output = sent.output()
    for _ in range(30):
        output.write("stdout", "x" * 1000)
    assert sent.text("stdout") == "x" * 24_000
    output.write("stdout", "y" * 100_000 + "\nz")
    output.close()
    assert max(len(text) for _, text in sent) == MESSAGE_CHARACTERS
    assert sent.text("stdout") == "x" * 30_000 + "y" * 100_000 + "\nz"


def test_too_many_lines_are_dropped_and_counted():
    sent = Sent()
    output = sent.output()
    for i in range(2000):
        output.write("stdout", f"{i}\n")
    assert len(sent) == 500
    sent.now += 0.01
    output.write("stdout", "later\n")
    assert sent[500:] == [("log", "... 1,500 lines not shown\n"), ("stdout", "later\n")]
    output.write("stdout", "one\ntwo\n")
    output.close()
    assert sent[-1] == ("log", "... 2 lines not shown\n")


def test_control_characters_do_not_pass():
    sent = Sent()
    sent.output().write("stdout", "\x1b[2Jred\n")
    assert sent == [("stdout", "�[2Jred\n")]


def test_sending_that_prints_does_not_go_round_in_circles(capsys):
    sent = []

    def send(stream: str, text: str) -> None:
        print("sending", text, end="")
        sent.append(text)

    with capturing():
        current.set(call_with(CallOutput(send)))
        print("hello")
    assert sent == ["hello\n"]
    assert capsys.readouterr().out == "hello\nsending hello\n"


def test_prints_and_logs_go_to_the_call_of_their_context_and_where_they_went_before(capsys):
    anna, ben = Sent(), Sent()

    async def say(sent: Sent, name: str) -> None:
        current.set(call_with(sent.output()))
        for step in range(2):
            print(name, step)
            print(name, "err", file=sys.stderr)
            logging.getLogger("theirs").warning("%s logs", name)
            await asyncio.sleep(0)

    async def both() -> None:
        await asyncio.gather(say(anna, "anna"), say(ben, "ben"))

    thread_sent = Sent()

    def in_thread() -> None:
        current.set(call_with(thread_sent.output()))
        sys.stdout.writelines(["cleo\n", "sings\n"])

    with capturing():
        asyncio.run(both())
        thread = threading.Thread(target=in_thread)
        thread.start()
        thread.join()
        print("nobody")
    for sent, name in ((anna, "anna"), (ben, "ben")):
        assert sent.text("stdout") == f"{name} 0\n{name} 1\n"
        assert sent.text("stderr") == f"{name} err\n" * 2
        assert sent.text("log") == f"WARNING theirs: {name} logs\n" * 2
    assert thread_sent.text("stdout") == "cleo\nsings\n"
    assert capsys.readouterr().out == "anna 0\nben 0\nanna 1\nben 1\ncleo\nsings\nnobody\n"


def test_our_own_log_with_its_tracebacks_stays_at_home():
    sent = Sent()
    with capturing():
        current.set(call_with(sent.output()))
        logging.getLogger("landbridge.backend.execution").error("incident 1", exc_info=ValueError("secret"))
        logging.getLogger("landbridges").error("not ours")
    assert sent.text("log") == "ERROR landbridges: not ours\n"


def test_a_call_that_did_not_ask_costs_nothing_and_gets_nothing(capsys):
    with capturing():
        current.set(call_with(None))
        print("hello")
    assert capsys.readouterr().out == "hello\n"


def test_the_streams_are_put_back_once():
    before = sys.stdout, sys.stderr, list(logging.root.handlers)
    end = capture()
    inner = capture()
    assert sys.stdout is not before[0]
    assert sys.stdout.encoding == before[0].encoding
    inner()
    assert sys.stdout is not before[0]
    end()
    assert (sys.stdout, sys.stderr, list(logging.root.handlers)) == before
