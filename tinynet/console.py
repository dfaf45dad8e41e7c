"""What the command lines share: one-line errors, exit codes, progress with and without a terminal."""

import argparse
import os
import pathlib
import signal
import sys
import tempfile
import time

from tqdm import tqdm


class ArgumentParser(argparse.ArgumentParser):
    """argparse, but a mistake gets one line."""

    def error(self, message):
        self.exit(2, f"{self.prog}: {message}\n")


def positive_int(text):
    """An argparse type: a whole number from 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


def positive_float(text):
    """An argparse type: a number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def seed(text):
    """An argparse type: what a random generator starts from, a whole number from 0."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0")
    return int(text)


class FolderError(ValueError):
    """A folder that results cannot be written to; one line for the user."""


def writable_folder(path):
    """Make a folder for results, and see that it can be written to. Raises FolderError."""
    folder = pathlib.Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise FolderError(f"--out {path}: cannot be written to ({error.strerror or error})") from None
    return folder


class Progress:
    """A tqdm bar on a terminal; elsewhere a plain line every `every` seconds; nothing at all when quiet.

    Args     total: how many units there will be; unit: what they are called; label: what is being done
    """

    def __init__(self, total, label, unit, quiet=False, every=10.0):
        self.total, self.label, self.unit, self.quiet, self.every = total, label, unit, quiet, every
        self.done, self.started = 0, time.monotonic()
        self.printed = self.started
        self.bar = None
        if not quiet and sys.stderr.isatty():
            self.bar = tqdm(total=total, desc=label, unit=unit, dynamic_ncols=True)

    def update(self, count, note=""):
        """`count` more units are done; note: what else to show."""
        self.done += count
        if self.bar is not None:
            self.bar.set_postfix_str(note, refresh=False)
            self.bar.update(count)
        elif not self.quiet and time.monotonic() - self.printed >= self.every:
            self.printed = time.monotonic()
            left = (self.printed - self.started) / self.done * (self.total - self.done)
            note = f"{note}, " if note else ""
            self.say(f"{self.label}: {self.done}/{self.total} {self.unit}, {note}{left:.0f} s left")

    def say(self, line):
        """A line of its own, above the bar."""
        if not self.quiet:
            tqdm.write(line, file=sys.stderr)

    def close(self):
        if self.bar is not None:
            self.bar.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, noticed at a place where everything can be saved."""


class Interrupt:
    """Ctrl-C, or SIGTERM, once: `watch` raises Interrupted between two of what it passes on. Twice: stop at once."""

    def __enter__(self):
        self.requested = False
        self._before = {number: signal.signal(number, self._notice) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_):
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def watch(self, batches):
        """Pass batches on, until the user wants to stop; one that has been taken is always passed on."""
        self._raise_if_requested()
        for batch in batches:
            yield batch
            self._raise_if_requested()

    def _raise_if_requested(self):
        if self.requested:
            raise Interrupted("stopped")

    def _notice(self, *_):
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True


def run(main, mistakes, name=None):
    """Call main() and leave with its exit code. `mistakes`: the exceptions that mean a user's mistake;
    name: how the program calls itself, if not as its file.

    A mistake is one line and code 2, a fault of the run one line and code 1, Ctrl-C code 130.
    """
    name = name or os.path.basename(sys.argv[0])
    sys.stdout.reconfigure(errors="replace")  # a name that the terminal cannot show is no reason to stop
    try:
        sys.exit(main())
    except mistakes as error:
        code, text = 2, str(error)
    except (ArithmeticError, OSError, MemoryError) as error:
        code, text = 1, str(error) or type(error).__name__
    except KeyboardInterrupt as error:
        code, text = 130, str(error) or "stopped"
    print(f"{name}: {text}", file=sys.stderr)
    sys.exit(code)
