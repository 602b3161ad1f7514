r"""Writes a table as LaTeX, for a paper: a ``tabular`` with booktabs' rules, to be ``\input``."""

from __future__ import annotations

from reports.tables import Column, Table, TableCell, full_text, printable

SPECIAL = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "\u00a0": "~",
    "−": "$-$",
    "–": "--",
    "—": "---",
    "×": r"$\times$",
    "→": r"$\to$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "±": r"$\pm$",
    "∞": r"$\infty$",
    "‖": r"$\|$",
    "√": r"$\surd$",
    "Σ": r"$\Sigma$",
    "σ": r"$\sigma$",
    "λ": r"$\lambda$",
    "γ": r"$\gamma$",
    "ε": r"$\varepsilon$",
    "μ": r"$\mu$",
    "…": r"\ldots{}",
    "“": "``",
    "”": "''",
    "‘": "`",
    "’": "'",
}
"""What stands for itself in no LaTeX document."""
LONGEST = 45
"""Rows that a page takes; longer tables go over several."""


def escape(text: str) -> str:
    """Write a text so that LaTeX prints it as it is, whatever it holds."""
    return "".join(SPECIAL.get(character, character) for character in printable(text))


def entry(cell: TableCell, column: Column) -> str:
    """Write one entry: value, interval and n."""
    return escape(full_text(cell, column))


def render(table: Table) -> str:
    """Return the table as LaTeX; one of many rows as a ``longtable``."""
    columns = "".join("r" if column.numeric else "l" for column in table.columns)
    header = " & ".join(escape(column.title) for column in table.columns) + r" \\"
    rows = [
        " & ".join(entry(cell, column) for cell, column in zip(row, table.columns, strict=True))
        + r" \\"
        for row in table.rows
    ]
    caption = rf"\caption{{{escape(table.title)}}}\label{{tab:{table.name}}}"
    note = [rf"% {line}" for line in printable(table.note).splitlines()]
    if len(rows) > LONGEST:
        body = [
            rf"\begin{{longtable}}{{{columns}}}",
            rf"{caption} \\",
            rf"\toprule {header} \midrule \endfirsthead",
            rf"\toprule {header} \midrule \endhead",
            r"\bottomrule \endfoot",
            *rows,
            r"\end{longtable}",
        ]
    else:
        body = [
            r"\begin{table}",
            r"\centering",
            caption,
            rf"\begin{{tabular}}{{{columns}}}",
            rf"\toprule {header} \midrule",
            *rows,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
    packages = "% needs booktabs" + (" and longtable" if len(rows) > LONGEST else "")
    return "\n".join([packages, *note, *body]) + "\n"
