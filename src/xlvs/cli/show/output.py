"""Tables and numbers as operators read them.  Text from values, nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

Row = Sequence[object]


def aligned(header: Sequence[str], rows: Iterable[Row], widths: Sequence[int] = ()) -> str:
    """Return a table with its columns aligned; numbers to the right.  *widths* are the least a column has."""
    cells = [[str(cell) for cell in row] for row in rows]
    numeric = [bool(cells) and all(row[i].isdigit() for row in cells) for i in range(len(header))]
    least = list(widths) or [0] * len(header)
    full = [max(n, *(len(row[i]) for row in [list(header), *cells])) for i, n in enumerate(least)]
    return "\n".join(line([*row], full, numeric) for row in [header, *cells])


def line(row: Row, widths: Sequence[int], numeric: Sequence[bool]) -> str:
    """Return one line of a table."""
    columns = zip(map(str, row), widths, numeric, strict=True)
    return "  ".join(c.rjust(n) if right else c.ljust(n) for c, n, right in columns).rstrip()


def endpoint(address: str, port: int) -> str:
    """Return address and port as operators write them."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def facts(rows: Iterable[tuple[str, object]]) -> str:
    """Return names with their values, one a line."""
    shown = [(f"{name}:", str(value)) for name, value in rows]
    width = max((len(name) for name, _ in shown), default=0)
    return "\n".join(f"{name:{width}}  {value}".rstrip() for name, value in shown)


def indented(text: str) -> str:
    """Return *text* with each line moved to the right."""
    return "\n".join(f"  {row}" if row else "" for row in text.splitlines())
