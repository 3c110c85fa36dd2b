"""Tables, and the verdict on each target."""

from dataclasses import dataclass


@dataclass
class Verdict:
    """One target, and what was found; `found` is None where it could not be measured."""

    what: str
    found: float | None
    shown: str
    target: float

    @property
    def met(self):
        return self.found is not None and self.found <= self.target


def table(rows):
    """Prints aligned columns; the first is text, the others are figures."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = [cell.rjust(width) for cell, width in zip(row, widths)]
        cells[0] = row[0].ljust(widths[0])
        print("  ".join(cells).rstrip())


def figure(value, digits=1):
    return "–" if value is None else f"{value:.{digits}f}"


def print_verdicts(verdicts):
    """Prints every target; returns whether all are met."""
    rows = [["keyward", "found", "target", ""]]
    for verdict in verdicts:
        word = "met" if verdict.met else "not measured" if verdict.found is None else "MISSED"
        rows.append([verdict.what, verdict.shown, f"≤ {verdict.target:.2f}", word])
    print()
    table(rows)
    return all(verdict.met for verdict in verdicts)
