"""A process for `benchmarks.worker`: its rates are its settings."""

from benchmarks import worker


def make():
    rates = iter(worker.settings()["rates"])
    print("what a library says")
    return lambda: next(rates)


if __name__ == "__main__":
    worker.serve(make, ["numpy"])
