"""Command line: convert logs by a Beam pipeline.

```
python -m ecdctr_tf.input.beam --spec=globo.toml --source=logs --out=data
python -m ecdctr_tf.input.beam --spec=globo.toml --source=gs://logs \\
    --out=/mnt/shared/data --runner=FlinkRunner --flink_master=flink:8081
```

Flags that are not of `convert` are those of Beam and its runners. `--out` is on
a file system that all workers see under this path.
"""

import difflib

from absl import app, flags

from ecdctr_tf import command_line

# Defines the flags of a conversion, which are those of this one too.
from ecdctr_tf.input import convert

_BEAM = 'The extra "beam" is not installed: pip install "ecdctr-tf[beam]".'
# Flags of `convert` that stand for something else than a first conversion.
_OTHERS = (
    "append",
    "artefacts_of",
    "check",
    "drop_from",
    "infer",
    "replace",
)


def main(argv: list[str]) -> None:
    """Convert as the flags say.

    Args:
      argv: the program, and the flags of Beam.
    """
    with command_line.reported():
        _convert(argv[1:])


def _convert(beam_flags: list[str]) -> None:
    given = flags.FLAGS
    for name in _OTHERS:
        if given[name].value:
            raise ValueError(
                f"--{name} is none of a Beam pipeline, which makes a new data "
                "directory. Use `python -m ecdctr_tf.input.convert`."
            )
    _check(beam_flags)
    spec, paths = convert.conversion()
    try:
        from apache_beam.options import pipeline_options
    except ImportError as error:
        raise ValueError(_BEAM) from error
    from ecdctr_tf.input.beam import pipeline
    from ecdctr_tf.input.conversion import tally

    summary = pipeline.convert(
        spec,
        given["source"].value,
        given["out"].value,
        pipeline_options.PipelineOptions(beam_flags),
        paths,
        given["format"].value,
        given["rows_per_file"].value,
    )
    tally.show(summary)


def _check(beam_flags: list[str]) -> None:
    """Raise a ValueError for what is most likely no flag of Beam.

    Beam passes over flags that it does not know: its runners may.
    """
    for text in beam_flags:
        name = text.lstrip("-").partition("=")[0]
        near = difflib.get_close_matches(name, list(flags.FLAGS), 1, 0.8)
        if text.startswith("-") and near:
            raise ValueError(f"There is no flag {text}. Is it --{near[0]}?")


def run() -> None:
    """Enter from the command line."""
    app.run(main, flags_parser=lambda argv: flags.FLAGS(argv, known_only=True))


if __name__ == "__main__":
    run()
