"""The reference of conversion specs, made from the dataclasses they become.

```
python -m ecdctr_tf.input.conversion.reference > docs/conversion_spec.md
```

A field's comment is its description, a class's docstring that of its table.
"""

import ast
import dataclasses
import inspect
import textwrap
import typing

from ecdctr_tf import features, typed_values
from ecdctr_tf.input.conversion import log_spec, past_spec, toml_spec

_HEAD = """\
# Reference of conversion specs

A conversion spec is a TOML file that says what is in logs and which features
are made of it. `ecdctr-convert --infer --source=LOGS --spec=logs.toml` writes a
first one; the README has an example, and `input/datasets` has one for each data
set.

This page is made from the code by `make reference`. A key without a default is
required. Keys that are unknown, and values of another type, are rejected.
"""
# Header in the TOML file -> the class that its keys become.
TABLES: dict[str, type] = {
    "Top of the file": toml_spec.ConversionSpec,
    "[[logs]]": log_spec.Log,
    "[[sources]]": toml_spec.Source,
    "[logs.explode]": log_spec.Explode,
    "[[logs.joins]]": log_spec.Join,
    "[[logs.where]]": log_spec.Congruence,
    "[[tables]]": features.TableSpec,
    "[[features]]": toml_spec.Column,
    "[[sequences]]": past_spec.Sequence,
    "[[counts]]": past_spec.Count,
    "[[ages]]": past_spec.Age,
    "[negatives.natural], [negatives.ads]": past_spec.Negatives,
}
# Keys that mean the same in all tables and have no comment in each.
_EVERYWHERE = {
    "name": "Letters, digits and underscores, a letter first.",
    "table": "The table of the ids.",
    "side": 'Whose property it is: "user", "item" or "context".',
    "basic": "Whether the tiny pre-training model (TPM) reads it.",
    "domain": 'Whose events: "natural", "ads", "both", or "same", the domain '
    "of the row itself.",
}


def page() -> str:
    """Return the reference as Markdown."""
    parts = [_HEAD]
    for header, kind in TABLES.items():
        parts.append(_table(header, kind))
    return "\n".join(parts)


def _table(header: str, kind: type) -> str:
    """Return the section of one table of the file."""
    lines = [f"## {header}", "", *_description(kind), ""]
    lines += ["| key | value | default | meaning |", "|---|---|---|---|"]
    comments = _comments(kind)
    types = typing.get_type_hints(kind)
    own = kind.__annotations__
    fields = dataclasses.fields(kind)
    for field in sorted(fields, key=lambda f: f.name not in own):
        value = typed_values.described(types[field.name])
        value = value.removesuffix(" or null")
        if _has_own_section(types[field.name]):
            continue
        cells = [
            f"`{field.name}`",
            value,
            _default(field),
            comments.get(field.name, ""),
        ]
        escaped = (cell.replace("|", "\\|") for cell in cells)
        lines.append(f"| {' | '.join(escaped)} |")
    return "\n".join([*lines, ""])


def _description(kind: type) -> list[str]:
    """Return the docstring of a class, less its example."""
    text = inspect.cleandoc(kind.__doc__ or "")
    return text.partition("\nExample:")[0].strip().splitlines()


def _comments(kind: type) -> dict[str, str]:
    """Return the comment above each field, or above the field before."""
    found: dict[str, str] = {}
    for of in reversed(kind.__mro__):
        if not dataclasses.is_dataclass(of):
            continue
        source = textwrap.dedent(inspect.getsource(of))
        lines = source.splitlines()
        comment = ""
        for node in typing.cast(ast.ClassDef, ast.parse(source).body[0]).body:
            if isinstance(node, ast.AnnAssign):
                name, above = ast.unparse(node.target), node.lineno - 1
                comment = _above(lines, above) or _EVERYWHERE.get(name, comment)
                found[name] = comment
    return found


def _above(lines: list[str], place: int) -> str:
    """Return the comment that ends above a line."""
    words: list[str] = []
    while place and lines[place - 1].strip().startswith("#"):
        place -= 1
        words.insert(0, lines[place].strip().removeprefix("#").strip())
    return " ".join(words)


def _has_own_section(kind: typing.Any) -> bool:
    """Return whether a field holds what another section describes."""
    inside = [kind, *typing.get_args(kind)]
    inside += [part for one in inside for part in typing.get_args(one)]
    return any(dataclasses.is_dataclass(one) for one in inside)


def _default(field: dataclasses.Field) -> str:
    if field.default_factory is not dataclasses.MISSING:
        return "empty"
    if field.default is dataclasses.MISSING:
        return ""
    value = field.default
    if value is None:
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if value == "" or value == ():
        return "empty"
    if isinstance(value, tuple):
        # As TOML writes texts without escapes.
        return ", ".join(f"`'{text}'`" for text in value)
    return f"`{value!r}`"


if __name__ == "__main__":
    print(page(), end="")
