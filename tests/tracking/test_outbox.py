"""Nothing is lost, nothing is reordered, nothing is raised."""

from __future__ import annotations

import pytest

from rrl.tracking import outbox as outbox_module
from rrl.tracking.outbox import Outbox, RejectedMessageError, append_lines, read_lines

pytestmark = pytest.mark.filterwarnings("ignore:Experiment tracking")


class Receiver:
    def __init__(self) -> None:
        self.reachable = True
        self.refused: list[int] = []
        self.received: list[int] = []
        self.attempts = 0

    def deliver(self, message):
        self.attempts += 1
        if not self.reachable:
            raise ConnectionError("nobody there")
        if message["n"] in self.refused:
            raise RejectedMessageError("bad message")
        self.received.append(message["n"])


@pytest.fixture
def receiver():
    return Receiver()


@pytest.fixture
def outbox(receiver, tmp_path):
    return Outbox(receiver.deliver, tmp_path / "unsent.jsonl")


def test_messages_wait_in_order_until_the_receiver_is_back(receiver, outbox):
    receiver.reachable = False
    for n in range(3):
        outbox.post({"n": n})
    assert [message["n"] for message in outbox.waiting()] == [0, 1, 2]
    receiver.reachable = True
    assert outbox.flush() == 0
    outbox.post({"n": 3})
    assert receiver.received == [0, 1, 2, 3]
    assert not outbox.path.exists()


def test_dead_receiver_is_left_alone_for_a_while(receiver, outbox, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(outbox_module.time, "monotonic", lambda: now[0])
    receiver.reachable = False
    for n in range(1000):
        outbox.post({"n": n})
    assert receiver.attempts == 1
    now[0] += outbox_module.FIRST_PAUSE
    outbox.post({"n": 1000})
    assert receiver.attempts == 2
    now[0] += outbox_module.FIRST_PAUSE
    outbox.post({"n": 1001})
    assert receiver.attempts == 2, "the second pause is longer"
    assert len(outbox.waiting()) == 1002


def test_later_process_delivers_what_an_earlier_one_left(receiver, outbox):
    receiver.reachable = False
    outbox.post({"n": 0})
    receiver.reachable = True
    Outbox(receiver.deliver, outbox.path).post({"n": 1})
    assert receiver.received == [0, 1]


def test_refused_message_does_not_hold_up_the_others(receiver, outbox):
    receiver.refused = [1]
    for n in range(3):
        outbox.post({"n": n})
    assert receiver.received == [0, 2]
    assert read_lines(outbox.path.with_name("unsent.jsonl.rejected")) == [{"n": 1}]


def test_failure_in_the_middle_keeps_only_what_was_not_delivered(receiver, outbox):
    append_lines(outbox.path, [{"n": n} for n in range(4)])
    deliver_one_then_fail = iter([None, ConnectionError])

    def deliver(message) -> None:
        if failure := next(deliver_one_then_fail, ConnectionError):
            raise failure
        receiver.deliver(message)

    Outbox(deliver, outbox.path).flush()
    assert receiver.received == [0]
    assert [message["n"] for message in outbox.waiting()] == [1, 2, 3]


def test_line_cut_short_by_a_crash_is_left_out(outbox):
    append_lines(outbox.path, [{"n": 0}])
    with outbox.path.open("a") as file:
        file.write('{"n": ')
    assert outbox.waiting() == [{"n": 0}]


def test_special_numbers_survive_the_file(tmp_path):
    append_lines(tmp_path / "lines", [{"value": float("inf")}, {"value": float("nan")}])
    infinite, undefined = read_lines(tmp_path / "lines")
    assert infinite["value"] == float("inf")
    assert undefined["value"] != undefined["value"]


@pytest.mark.parametrize("torn", [b'{"n": ', b'{"n": "\xff\xfe"}\n', b"\x00\x00\x00", b"[1]\n", b"\n\n"])
def test_torn_or_damaged_line_loses_only_itself(outbox, torn):
    append_lines(outbox.path, [{"n": 0}])
    with outbox.path.open("ab") as file:
        file.write(torn)
    append_lines(outbox.path, [{"n": 1}])
    append_lines(outbox.path, [{"n": 2}])
    assert outbox.waiting() == [{"n": 0}, {"n": 1}, {"n": 2}]


def test_what_a_kill_left_while_the_file_was_replaced_is_not_sent(receiver, outbox):
    append_lines(outbox.path.with_name("unsent.jsonl.new"), [{"n": 7}])
    receiver.reachable = False
    outbox.post({"n": 0})
    assert outbox.waiting() == [{"n": 0}]


def test_slow_receiver_gets_the_rest_later(receiver, outbox, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(outbox_module.time, "monotonic", lambda: now[0])
    deliver = receiver.deliver

    def slowly(message) -> None:
        now[0] += 3.0
        deliver(message)

    append_lines(outbox.path, [{"n": n} for n in range(10)])
    Outbox(slowly, outbox.path).post({"n": 10})
    assert receiver.received == [0, 1, 2]
    assert [message["n"] for message in outbox.waiting()] == list(range(3, 11))
