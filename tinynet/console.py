"""What the command lines share: one-line errors, exit codes, progress with and without a terminal."""

import argparse
import sys
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
            self.say(f"{self.label}: {self.done}/{self.total} {self.unit}, {note + ', ' if note else ''}{left:.0f} s left")

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
