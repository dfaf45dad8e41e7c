"""One line for every mistake, one exit code for every end, and progress where there is no terminal."""

import argparse
import io
import signal
import sys
import threading
import types

import pytest

from tinynet import console


class Mistake(ValueError):
    """What a user did wrong."""


def leave(monkeypatch, main):
    """console.execute as a script called job.py would; returns its exit code."""
    monkeypatch.setattr(sys, "argv", ["/somewhere/job.py", "--option"])
    with pytest.raises(SystemExit) as left:
        console.execute(main, mistakes=(Mistake, console.FolderError))
    return left.value.code


def raiser(error):
    def main():
        raise error
    return main


# ---- exit codes ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("error, code, line", [
    (Mistake("x.jpg: is no folder"), 2, "x.jpg: is no folder"),
    (console.FolderError("--out x: cannot be written to"), 2, "--out x: cannot be written to"),
    (ArithmeticError("step 3: the loss is nan"), 1, "step 3: the loss is nan"),
    (OSError(28, "No space left on device"), 1, "[Errno 28] No space left on device"),
    (OSError(28, "No space left on device", "w.npz"), 1, "w.npz: No space left on device"),
    (MemoryError(), 1, "MemoryError"),
    (KeyboardInterrupt(), 130, "stopped")])
def test_every_end_has_one_line_and_its_code(monkeypatch, capsys, error, code, line):
    assert leave(monkeypatch, raiser(error)) == code
    assert capsys.readouterr() == ("", f"job.py: {line}\n")


@pytest.mark.parametrize("returned, code", [(None, None), (0, 0), (3, 3)])
def test_what_main_returns_is_the_code(monkeypatch, capsys, returned, code):
    assert leave(monkeypatch, lambda: returned) == code  # None is success, as for sys.exit
    assert capsys.readouterr() == ("", "")


def test_a_mistake_that_is_also_a_fault_is_a_mistake(monkeypatch, capsys):
    class Both(Mistake, OSError):
        pass
    assert leave(monkeypatch, raiser(Both("--out x"))) == 2


def test_a_bug_keeps_its_traceback(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["job.py"])
    with pytest.raises(ValueError, match="^a bug$"):  # Mistake is a ValueError; not every ValueError is a mistake
        console.execute(raiser(ValueError("a bug")), mistakes=(Mistake,))


@pytest.mark.parametrize("number, code", [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)])
def test_a_signal_has_its_code(monkeypatch, capsys, number, code):
    def main():
        with console.Interrupt() as interrupt:
            signal.raise_signal(number)
            interrupt.check()

    assert leave(monkeypatch, main) == code
    said = {143: "stopped by SIGTERM", 129: "stopped by SIGHUP", 130: "stopped"}[code]
    assert capsys.readouterr() == ("", f"job.py: {said}\n")


def test_a_notebook_has_another_stdout(monkeypatch):
    monkeypatch.setattr(sys, "stdout", types.SimpleNamespace(write=lambda text: None, flush=lambda: None))
    assert leave(monkeypatch, lambda: 0) == 0


def test_outside_the_main_thread_signals_are_left_alone():
    failed = []

    def work():
        try:
            with console.Interrupt() as interrupt:
                interrupt.check()
        except ValueError as error:
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert not failed


# ---- the command line ----------------------------------------------------------------------------------------------
def parse(*words):
    parser = console.ArgumentParser(prog="job.py")
    parser.add_argument("--count", type=console.positive_int)
    parser.add_argument("--rate", type=console.positive_float)
    parser.add_argument("--seed", type=console.seed)
    parser.add_argument("--kind", choices=("cat", "dog"))
    return parser.parse_args(words)


@pytest.mark.parametrize("words, line", [
    (("--count", "0"), "argument --count: '0' is not a whole number from 1"),
    (("--count", "-3"), "argument --count: '-3' is not a whole number from 1"),
    (("--count", "2.5"), "argument --count: '2.5' is not a whole number from 1"),
    (("--rate", "0"), "argument --rate: '0' is not a number above 0"),
    (("--rate", "fast"), "argument --rate: 'fast' is not a number above 0"),
    (("--seed", "x"), "argument --seed: 'x' is not a whole number from 0"),
    (("--count",), "argument --count: expected one argument"),
    (("--colour", "red"), "unrecognized arguments: --colour red")])
def test_a_mistake_in_the_arguments_gets_one_line_and_code_2(capsys, words, line):
    with pytest.raises(SystemExit) as left:
        parse(*words)
    assert left.value.code == 2 and capsys.readouterr() == ("", f"job.py: {line}\n")


def test_help_shows_the_defaults_that_say_something():
    parser = console.ArgumentParser(formatter_class=console.HelpFormatter)
    for default in (0, 0.5, "here", None, "", False):
        parser.add_argument(f"--{type(default).__name__}-{default}", default=default, help="what it is for")
    told = " ".join(parser.format_help().split())
    assert [text.split(")")[0] for text in told.split("(default: ")[1:]] == ["0", "0.5", "here"]


def test_a_wrong_choice_is_told_the_right_ones(capsys):
    with pytest.raises(SystemExit) as left:
        parse("--kind", "cow")
    out, line = capsys.readouterr()  # its quotes changed between versions of Python
    assert left.value.code == 2 and out == "" and line.count("\n") == 1
    assert all(word in line for word in ("--kind", "cow", "cat", "dog"))


def test_good_arguments_are_numbers():
    args = parse("--count", "12", "--rate", "1e-3", "--seed", "0", "--kind", "dog")
    assert (args.count, args.rate, args.seed, args.kind) == (12, 0.001, 0, "dog")


@pytest.mark.parametrize("kind, bad", [
    (console.positive_int, ["0", "-1", "1.0", "1e3", "", " 1", "1_000", "+1", "²", "one"]),
    (console.positive_float, ["0", "-0.1", "nan", "inf", "-inf", "1e-400", "1e400", "", "one"]),
    (console.seed, ["-1", "1.5", "", "one", "²"])], ids=lambda value: getattr(value, "__name__", ""))
def test_argument_types_refuse(kind, bad):
    for text in bad:
        with pytest.raises(argparse.ArgumentTypeError) as error:
            kind(text)
        assert str(error.value).startswith(f"{text!r} is not a ")


# ---- where results go ----------------------------------------------------------------------------------------------
def test_a_folder_for_results_is_made_with_its_parents_and_left_empty(tmp_path):
    for _ in range(2):  # it may be there already
        folder = console.writable_folder(str(tmp_path / "a" / "b"))
        assert folder == tmp_path / "a" / "b" and list(folder.iterdir()) == []


@pytest.mark.parametrize("name, reason", [
    ("file", "Not a directory"), ("file/below", "Not a directory"), ("link", "No such file or directory"),
    ("link/below", "No such file or directory"), ("n" * 300, "File name too long")])
def test_a_folder_that_cannot_be_is_refused_by_name(tmp_path, name, reason):
    (tmp_path / "file").write_text("kept")
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(console.FolderError) as error:
        console.writable_folder(tmp_path / name, "--json")
    assert str(error.value) == f"--json {tmp_path / name}: cannot be written to ({reason})"
    assert (tmp_path / "file").read_text() == "kept"


def test_a_folder_is_checked_without_making_it(tmp_path):
    (tmp_path / "file").write_text("")
    for name in ("new", "new/below", "."):
        console.require_writable(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    with pytest.raises(console.FolderError, match=r"^--out .*/file/below: cannot be written to \(Not a directory\)$"):
        console.require_writable(tmp_path / "file" / "below")


def test_a_folder_without_room_is_refused(tmp_path, monkeypatch):
    def full(dir):
        raise OSError(28, "No space left on device")
    monkeypatch.setattr(console.tempfile, "TemporaryFile", full)
    with pytest.raises(console.FolderError, match=r"cannot be written to \(No space left on device\)$"):
        console.writable_folder(tmp_path)


# ---- progress ------------------------------------------------------------------------------------------------------
@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until clock.now is set."""
    clock = types.SimpleNamespace(now=1000.0)
    monkeypatch.setattr(console, "time", types.SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def test_plain_lines_without_a_terminal(clock, capsys):
    lines = []
    with console.Progress(100, "training", "steps", every=10.0) as progress:
        for step in range(1, 9):
            clock.now += 4
            progress.update(5, f"loss {step}")
            lines.append(capsys.readouterr())
    said = {step: err for step, (_, err) in enumerate(lines, 1) if err}
    assert all(out == "" for out, _ in lines) and capsys.readouterr() == ("", "")
    # every third step is the first after ten seconds; 4 s for 5 units
    assert said == {3: "training: 15/100 steps, loss 3, 68 s left\n",
                    6: "training: 30/100 steps, loss 6, 56 s left\n"}


def test_a_plain_line_without_a_note(clock, capsys):
    with console.Progress(4, "reading", "pictures", every=1.0) as progress:
        clock.now += 3
        progress.update(3)
    assert capsys.readouterr() == ("", "reading: 3/4 pictures, 1 s left\n")


def test_what_was_done_before_does_not_count_for_the_time_that_is_left(clock, capsys):
    with console.Progress(100, "training", "steps", every=10.0, done=80) as progress:
        clock.now += 20
        progress.update(5)
    assert capsys.readouterr() == ("", "training: 85/100 steps, 60 s left\n")


def test_a_short_job_says_nothing(clock, capsys):
    with console.Progress(4, "reading", "pictures") as progress:
        for _ in range(4):
            clock.now += 2
            progress.update(1)
    assert capsys.readouterr() == ("", "")


def test_a_line_of_its_own(clock, capsys):
    with console.Progress(4, "reading", "pictures") as progress:
        progress.say("epoch 1: 12 %")
    assert capsys.readouterr() == ("", "epoch 1: 12 %\n")


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_bar_on_a_terminal_and_no_plain_lines(clock, monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with console.Progress(4, "reading", "pictures", every=1.0) as progress:
        clock.now += 60
        progress.update(3, "loss 2.3")
        progress.say("above the bar")
        progress.bar.refresh()
    text = sys.stderr.getvalue()
    assert "reading:  75%" in text and "3/4" in text and "loss 2.3" in text and "\r" in text
    assert "above the bar\n" in text and "s left" not in text


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_quiet_prints_nothing_anywhere(clock, monkeypatch, stream):
    monkeypatch.setattr(sys, "stderr", stream())
    monkeypatch.setattr(sys, "stdout", stream())
    with console.Progress(4, "reading", "pictures", quiet=True, every=1.0) as progress:
        clock.now += 60
        progress.update(3, "loss 2.3")
        progress.say("epoch 1")
    assert sys.stderr.getvalue() == sys.stdout.getvalue() == ""


# ---- Ctrl-C --------------------------------------------------------------------------------------------------------
def test_the_first_ctrl_c_is_noted_and_the_second_stops_at_once():
    before = signal.getsignal(signal.SIGINT)
    with console.Interrupt() as interrupt:
        assert interrupt.received is None
        signal.raise_signal(signal.SIGINT)
        assert interrupt.received == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_batch_that_is_being_taken_when_ctrl_c_comes_is_passed_on():
    """Else it would be lost to a run that goes on."""
    def batches():
        yield 1
        signal.raise_signal(signal.SIGINT)
        yield 2
        yield 3

    passed = []
    with console.Interrupt() as interrupt, pytest.raises(console.Interrupted, match="stopped"):
        for batch in interrupt.watch(batches()):
            passed.append(batch)
    assert passed == [1, 2]
    with console.Interrupt() as interrupt, pytest.raises(console.Interrupted):
        signal.raise_signal(signal.SIGTERM)
        next(interrupt.watch(iter([1])))


def test_after_the_loop_ctrl_c_is_what_it_was():
    with pytest.raises(Mistake), console.Interrupt():
        raise Mistake("in the loop")
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_an_interrupt_can_be_used_again():
    interrupt = console.Interrupt()
    for _ in range(2):
        with interrupt:
            assert not interrupt.received
            signal.raise_signal(signal.SIGINT)
            assert interrupt.received
