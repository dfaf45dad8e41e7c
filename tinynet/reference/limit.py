"""The limit on the work of one Python loop per index."""

LIMIT = 10_000_000  # about ten seconds of Python


def require_small(where, count, what="multiply-adds"):
    """Refuse work that takes too long; the message names the op `where` and a faster rung."""
    if count > LIMIT:
        raise ValueError(f"{where}: {count:,} {what} one at a time would take too long "
                         f'(limit {LIMIT:,}); use tinynet.ops, or net.use("ops")')
