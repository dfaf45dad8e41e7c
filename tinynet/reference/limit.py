"""How much one loop per index may be asked to do."""

LIMIT = 10_000_000  # some ten seconds of Python


def require_small(where, count, what="multiply-adds"):
    """Refuse, on behalf of the op `where`, what nobody would wait for; the message says what to use instead."""
    if count > LIMIT:
        raise ValueError(f"{where}: {count:,} {what} one at a time is too slow to wait for (limit {LIMIT:,}); "
                         f'use tinynet.ops, or net.use("ops")')
