"""Make the environments of the peers: `python -m benchmarks.peers`."""

from absl import app

from benchmarks.peers import environments


def main(argv) -> None:
    """Make the environments named on the command line; all without names."""
    for name in argv[1:] or environments.NAMES:
        environments.python(name)


if __name__ == "__main__":
    app.run(main)
