"""What all command lines share: one-line errors, exit codes, progress, signals."""

import argparse
import os
import pathlib
import signal
import sys
import tempfile
import threading
import time

from tqdm import tqdm

RANKS = ("PMI_RANK", "OMPI_COMM_WORLD_RANK", "PMIX_RANK")  # in which mpiexec tells a rank's number


class ArgumentParser(argparse.ArgumentParser):
    """An argparse.ArgumentParser that prints one line for a mistake."""

    def error(self, message):
        self.exit(2, f"{self.prog}: {message}\n")


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """A formatter of --help that shows the default of each option which has one."""

    def _get_help_string(self, action):
        has_one = action.default not in (None, "") and action.default is not False
        return super()._get_help_string(action) if has_one else action.help


def positive_int(text):
    """Convert the text of an option to a whole number from 1 (an argparse type)."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


def positive_float(text):
    """Convert the text of an option to a number above 0 (an argparse type)."""
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def seed(text):
    """Convert the text of an option to the seed of a random generator, a whole number from 0."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0")
    return int(text)


class FolderError(ValueError):
    """Results cannot be written to a folder; the message is one line for the user."""


def require_writable(path, option="--out"):
    """Check that files can be written to a folder, or to the nearest one above it that exists.

    Nothing is made, so a program can check this first and still leave no trace of a later mistake.

    Raises   FolderError
    """
    folder = os.path.abspath(path)
    while not os.path.lexists(folder):
        folder = os.path.dirname(folder)
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise _not_writable(path, option, error) from None


def writable_folder(path, option="--out"):
    """Make a folder for results and check that files can be written there. Raises FolderError."""
    require_writable(path, option)
    folder = pathlib.Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _not_writable(path, option, error) from None
    return folder


def _not_writable(path, option, error):
    reason = error.strerror or error
    return FolderError(f"{option} {path}: cannot be written to ({reason})")


class Progress:
    """A tqdm bar on a terminal; elsewhere a plain line every `every` seconds; nothing if quiet.

    Args     total: how many units there will be; label: what is being done; unit: the name of a
             unit; done: how many units were done before; leave: whether the bar stays when it is
             complete
    """

    def __init__(self, total, label, unit, quiet=False, every=10.0, done=0, leave=True):
        self.total, self.label, self.unit, self.quiet = total, label, unit, quiet
        self.every, self.done, self.first = every, done, done
        self.started = self.printed = time.monotonic()
        self.bar = None
        if not quiet and sys.stderr.isatty():
            self.bar = tqdm(total=total, initial=done, desc=label, unit=unit, dynamic_ncols=True,
                            leave=leave)

    def update(self, count, note=""):
        """Count `count` more units as done; note: what else to show."""
        self.done += count
        if self.bar is not None:
            self.bar.set_postfix_str(note, refresh=False)
            self.bar.update(count)
        elif not self.quiet and time.monotonic() - self.printed >= self.every:
            self.printed = time.monotonic()
            seconds_each = (self.printed - self.started) / max(1, self.done - self.first)
            left = seconds_each * (self.total - self.done)
            note = f"{note}, " if note else ""
            self.say(f"{self.label}: {self.done}/{self.total} {self.unit}, {note}{left:.0f} s left")

    def say(self, line):
        """Print a line of its own, above the bar."""
        if not self.quiet:
            tqdm.write(line, file=sys.stderr)

    def close(self):
        """Leave the bar."""
        if self.bar is not None:
            self.bar.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Interrupted(KeyboardInterrupt):
    """A signal asked the program to stop, and was noticed at a place where everything can be saved.

    signal  its number
    """

    def __init__(self, number):
        super().__init__("stopped" if number == signal.SIGINT
                         else f"stopped by {signal.Signals(number).name}")
        self.signal = number


class Interrupt:
    """A context in which Ctrl-C, SIGTERM and SIGHUP wait for the next `check`.

    A second signal stops the program at once. Outside the main thread, where Python allows no
    signal handlers, the context does nothing.
    """

    SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP")
               if hasattr(signal, name)]

    def __enter__(self):
        self.received, self._before = None, {}
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._notice) for number in self.SIGNALS}
        return self

    def __exit__(self, *_):
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def check(self, communicator=None):
        """Raise Interrupted if a signal has come: to any of the ranks, if there are several."""
        received = communicator.share(self.received) if communicator else [self.received]
        for number in filter(None, received):
            raise Interrupted(number)

    def watch(self, batches, communicator=None):
        """Yield the batches, and check for signals between two of them.

        A batch that has been taken is always passed on.
        """
        batches = iter(batches)
        self.check(communicator)
        for batch in batches:
            yield batch
            self.check(communicator)

    def _notice(self, number, _frame):
        if self.received:
            raise Interrupted(number)
        self.received = number


def started_rank():
    """Return the number of this rank as mpiexec has told it, or None without mpiexec."""
    return next((int(os.environ[name]) for name in RANKS if name in os.environ), None)


def execute(main, mistakes, name=None):
    """Call main() and exit with the code that fits how it ended.

    What main returns is the code (None is 0). A mistake of the user is one line and code 2, a fault
    of the run one line and code 1; Ctrl-C is 130, and another signal 128 + its number.

    Args     mistakes: the exceptions that are a user's mistakes; name: of the program, if not its
             file's
    """
    name = name or os.path.basename(sys.argv[0])
    if hasattr(sys.stdout, "reconfigure"):  # not in a notebook
        sys.stdout.reconfigure(errors="replace")  # a name that the terminal cannot show is no fault
    try:
        code = main()
        sys.stdout.flush()
        sys.exit(code)
    except mistakes as error:
        code, text = 2, str(error)
    except BrokenPipeError:  # the reader of our output, such as `head`, has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at exit
        sys.exit(128 + signal.SIGPIPE)
    except (ArithmeticError, OSError, MemoryError) as error:
        code, text = 1, str(error) or type(error).__name__
        if getattr(error, "filename", None) and error.strerror:
            text = f"{error.filename}: {error.strerror}"
    except KeyboardInterrupt as error:
        code = 128 + getattr(error, "signal", signal.SIGINT)
        text = str(error) or "stopped"
    print(f"{name}: {text}", file=sys.stderr)
    sys.exit(code)
