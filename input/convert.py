"""Command line: convert natural logs and ads to a data directory.

```
python -m ecdctr_tf.input.convert --spec=globo.toml --source=logs --out=data
python -m ecdctr_tf.input.convert --spec=globo.toml --source=later --out=data \\
    --append
```

The second command adds the days of later logs, with the same result as if all
had been converted at once. Features may have been added to the spec, removed or
retyped by then; days that are held lack what is new. Each domain is added at
its own pace; days up to its last one in `data` are rejected. They can be
replaced or taken back:

```
python -m ecdctr_tf.input.convert --spec=globo.toml --source=corrected \\
    --out=data --replace=2024-06-03 --artefacts_of=run
python -m ecdctr_tf.input.convert --spec=globo.toml --out=data \\
    --drop_from=2024-06-03 --artefacts_of=run
```

`--replace` converts a day again, and with it all later days, whose sequences
and counts depend on it; `--drop_from` takes back a day and all later ones. With
`--artefacts_of`, the artefacts that have seen the former rows are named.

Where there is no conversion spec yet, or logs are new:

```
python -m ecdctr_tf.input.convert --infer --source=logs --spec=logs.toml
python -m ecdctr_tf.input.convert --check --spec=logs.toml --source=logs \\
    --out=page
```

The first command writes a spec from a sample of the files, the second reads
all files and says what is in them; without `--out` it writes nothing.

The conversion spec is a TOML file (`conversion.toml_spec`). A name without a
directory that does not exist here is looked up in `datasets/`. With
`--spec=globo.toml`, the files of `datasets/globo.py` give 296,570 ad rows.

Code that has tables in memory calls

```
converter.convert_tables(
    spec, tables, out, file_format="blocks", rows_per_file=131_072,
    progress=True,
) -> dict
```

or `converter.append_tables`, which takes the same arguments. `tables` are pairs
`("natural" or "ads", pyarrow.Table)`. The functions are in
`conversion.converter`, so that importing them defines no flags.
"""

import ctypes
import importlib
import os
import pathlib
import sys
import typing
from concurrent import futures

from absl import app, flags

from ecdctr_tf import command_line

if typing.TYPE_CHECKING:
    from ecdctr_tf.input.conversion import toml_spec

_SPEC = flags.DEFINE_string(
    "spec", None, "Conversion spec: the TOML file that describes the logs."
)
_OUT = flags.DEFINE_string(
    "out",
    None,
    "Data directory to write; must not exist, except with --append, --replace "
    "and --drop_from.",
)
_INFER = flags.DEFINE_boolean(
    "infer",
    False,
    "Write a commented spec to --spec, or to the console, from a sample of "
    "the files in --source.",
)
_CHECK = flags.DEFINE_boolean(
    "check",
    False,
    "Read all logs, say what is in them, and convert nothing; with --out, also "
    "as a page in that directory.",
)
_APPEND = flags.DEFINE_boolean(
    "append", False, "Add later days to --out, which must exist."
)
_REPLACE = flags.DEFINE_string(
    "replace",
    "",
    "Convert this day of --out again, YYYY-MM-DD, and all days after it.",
)
_DROP_FROM = flags.DEFINE_string(
    "drop_from",
    "",
    "Take back this day of --out, YYYY-MM-DD, and all days after it.",
)
_ARTEFACTS_OF = flags.DEFINE_multi_string(
    "artefacts_of",
    [],
    "With --replace or --drop_from: a work directory whose artefacts that have "
    "seen the former rows are named. May be repeated.",
)
_SOURCE = flags.DEFINE_string(
    "source",
    ".",
    "Folder or URI that relative paths in the conversion spec start from.",
)
_LOG = flags.DEFINE_multi_string(
    "log",
    [],
    "name=path: read the log of that name from another path. May be repeated.",
)
_FORMAT = flags.DEFINE_enum(
    "format",
    "blocks",
    ["blocks", "examples"],
    "File format: columnar blocks, or one tf.train.Example per row.",
)
# Of `malloc.h`: how many pools of free memory threads may have.
_M_ARENA_MAX = -8
_ROWS_PER_FILE = flags.DEFINE_integer(
    "rows_per_file", 131_072, "Rows per TFRecord file.", 1
)


def convert_logs(
    spec: "toml_spec.ConversionSpec",
    source: str | os.PathLike[str],
    out: str | pathlib.Path,
    paths: dict[str, str] | None = None,
    append: bool = False,
    **options: typing.Any,
) -> dict:
    """Write a data directory from the log files that a spec names.

    Args:
      spec: the conversion spec.
      source: folder or URI that relative paths start from.
      out: the data directory; must not exist, unless `append`.
      paths: name of a log -> path to read instead.
      append: whether to add days to a data directory.
      **options: as of `converter.convert_tables`.

    Returns:
      The summary.

    Raises:
      OSError, ValueError: as `logs.tables`, and `convert_tables` or
        `append_tables`.
    """
    # Late, as these import Arrow: by now `_share_memory` has been called.
    from ecdctr_tf.input.conversion import ahead, converter, logs

    tables = logs.tables(spec, source, paths, partly=append)
    convert = converter.append_tables if append else converter.convert_tables
    with futures.ThreadPoolExecutor(1) as reader:
        return convert(spec, ahead.ahead(tables, reader), out, **options)


def find_spec(name: str) -> pathlib.Path:
    """Return the path of a spec: a file, or the name of one in `datasets/`."""
    path = pathlib.Path(name)
    own = pathlib.Path(__file__).parent / "datasets" / path.name
    if not path.exists() and path.name == name and own.is_file():
        return own
    return path


def conversion() -> tuple["toml_spec.ConversionSpec", dict[str, str]]:
    """Return the spec that the flags name, and the paths of its logs.

    Raises:
      FileNotFoundError, ValueError: a flag is missing or wrong, or the spec is.
    """
    _share_memory()
    from ecdctr_tf.input.conversion import toml_spec

    for flag in (_SPEC, _OUT):
        if not flag.value and not (flag is _OUT and _CHECK.value):
            raise ValueError(f"--{flag.name} is required; see --help.")
    wrong = [text for text in _LOG.value if not all(text.partition("="))]
    if wrong:
        raise ValueError(f"--log should be name=path. Received: {wrong[0]!r}")
    spec = toml_spec.ConversionSpec.load(find_spec(_SPEC.value))
    return spec, dict(text.split("=", 1) for text in _LOG.value)


def main(argv: list[str]) -> None:
    """Convert as the flags say."""
    with command_line.reported():
        _convert(argv)


def _share_memory() -> None:
    """Let each thread use the memory that another one has freed.

    Arrow, NumPy and each thread would otherwise keep what they free for
    themselves, a sixth of the memory of a conversion.
    """
    # Read when Arrow is first imported; `pa.set_memory_pool` leaves out much.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if sys.platform == "linux" and mallopt:
        mallopt(_M_ARENA_MAX, 1)


def _convert(argv: list[str]) -> None:
    if argv[1:]:
        raise ValueError(
            f"Arguments should be written --flag=value. Received: {argv[1:]}"
        )
    if _INFER.value:
        return _infer()
    changes = _changes()
    spec, paths = conversion()
    if _CHECK.value:
        return _check(spec, paths)
    if _FORMAT.value == "examples" or any(t.buckets > 1 for t in spec.tables):
        _load_tensorflow()
    if changes:
        return _change(spec, paths)
    from ecdctr_tf.input.conversion import tally

    summary = convert_logs(
        spec,
        _SOURCE.value,
        _OUT.value,
        paths,
        _APPEND.value,
        file_format=_FORMAT.value,
        rows_per_file=_ROWS_PER_FILE.value,
    )
    tally.show(summary)


def _load_tensorflow() -> None:
    """Import what makes Examples and hashes, which takes seconds, quietly."""
    with command_line.quiet_start():
        importlib.import_module("tensorflow")


def _infer() -> None:
    """Write a spec from a sample of the files."""
    from ecdctr_tf import store
    from ecdctr_tf.input.inference import inference

    spec = pathlib.Path(_SPEC.value) if _SPEC.value else None
    if spec and spec.exists():
        raise FileExistsError(
            f"{spec} already exists. Delete it, or choose another --spec."
        )
    inferred = inference.infer(_SOURCE.value)
    if spec:
        store.write_text(spec, inferred.text)
        print(f"wrote {spec}")
    else:
        print(inferred.text, end="")
    for remark in inferred.remarks:
        print(remark)
    if inferred.edits:
        raise ValueError(
            f"{spec or 'The spec'} needs an edit before it converts. "
            f"{' '.join(inferred.edits)}"
        )


def _check(spec: "toml_spec.ConversionSpec", paths: dict[str, str]) -> None:
    """Say what is in the logs."""
    import tqdm

    from ecdctr_tf.input.checking import checking, report

    with tqdm.tqdm(unit=" rows", desc="reading", unit_scale=True) as bar:
        found = checking.check(spec, _SOURCE.value, paths, bar.update)
    out = pathlib.Path(_OUT.value) if _OUT.value else None
    report.show(found, report.write(found, out) if out else [])


def _changes() -> bool:
    """Return whether days are replaced or dropped; check flags of that."""
    ways = [f for f in (_APPEND, _REPLACE, _DROP_FROM) if f.value]
    if len(ways) > 1:
        raise ValueError(
            "--append, --replace and --drop_from exclude each other. Received: "
            f"{', '.join(f'--{flag.name}' for flag in ways)}"
        )
    changes = bool(_REPLACE.value or _DROP_FROM.value)
    if _ARTEFACTS_OF.value and not changes:
        raise ValueError(
            "--artefacts_of says what to look through after --replace or "
            "--drop_from; without these nothing that was seen has changed."
        )
    for workdir in _ARTEFACTS_OF.value:
        if not pathlib.Path(workdir).is_dir():
            raise FileNotFoundError(f"There is no work directory at {workdir}.")
    return changes


def _change(spec: "toml_spec.ConversionSpec", paths: dict[str, str]) -> None:
    """Replace a day, or drop days, and say what has changed."""
    from ecdctr_tf.input.conversion import converter, logs, tally

    if _DROP_FROM.value:
        found = converter.drop_days(
            spec, _OUT.value, _DROP_FROM.value, _FORMAT.value
        )
    else:
        found = converter.replace_day(
            spec,
            logs.tables(spec, _SOURCE.value, paths, partly=True),
            _OUT.value,
            _REPLACE.value,
            _FORMAT.value,
            _ROWS_PER_FILE.value,
        )
    tally.show(found.summary)
    print("\n".join(found.lines()))
    for workdir in _ARTEFACTS_OF.value:
        seen = found.seen_by(workdir)
        if not seen:
            print(f"No artefact of {workdir} has seen the former rows.")
            continue
        print(f"These artefacts of {workdir} have seen the former rows:")
        print("\n".join(f"  {name}" for name in seen))
        print("Delete them and run the stages again to train them on the new.")


def run() -> None:
    """Enter from the console script `ecdctr-convert`."""
    app.run(main)


if __name__ == "__main__":
    run()
