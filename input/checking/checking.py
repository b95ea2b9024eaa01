"""Reads all logs of a conversion spec, counts, and writes nothing."""

import pathlib
from collections.abc import Callable

import numpy as np
import pyarrow as pa

from ecdctr_tf import features, windows
from ecdctr_tf.input.checking import measures
from ecdctr_tf.input.conversion import day_watch, events, logs, toml_spec


def check(
    spec: toml_spec.ConversionSpec,
    source: str | pathlib.Path = ".",
    paths: dict[str, str] | None = None,
    progress: Callable[[int], object] = lambda rows: None,
) -> dict:
    """Return what the logs hold.

    Numbers of different values, duplicates and overlaps are exact up to some
    100,000 values and estimates beyond.

    Args:
      spec: the conversion spec.
      source: directory that relative paths start from.
      paths: name of a log -> path to read instead.
      progress: is called with the number of rows of each batch.

    Returns:
      `stops`: sentences on the days of events, at which a conversion would
      stop. `domains`: domain -> `rows`, `clicks`, `first`, `last` (seconds),
      `days` (day -> rows and clicks), `gaps` (days without events),
      `duplicates` (rows whose user, item and second came before), `counts`
      (rows that were dropped or are not as usual), `sampled` (whether rows
      without a click will be sampled). `sources`: natural source -> `rows`,
      `clicks`, `days` (those with rows), `first` and `last` (day). `features`:
      feature ->
      `kind` and domain -> `missing` (share), `values`, `low`, `high`, `mean`,
      `drift` (stability index of the later half of the days); and `shift`
      (stability index of ads against natural rows), `shared_ids` and
      `shared_rows` (shares of the ads' ids that natural rows have, and of the
      rows with these), both left out where ads have id spaces of their own.

    Raises:
      OSError, ValueError: as `logs.tables` and `events.normalised`.
    """
    domains: dict[str, measures.Domain] = {}
    watch = day_watch.DayWatch(spec)
    edges: dict[str, np.ndarray | None] = {}
    sources: dict[str, dict] = {
        name: {"rows": 0, "clicks": 0, "days": set()}
        for name in spec.source_names
    }
    lacks = {
        domain: {f.name for f in spec.features if domain not in _of(f)}
        for domain in features.DOMAINS
    }
    for domain, table in logs.tables(spec, source, paths):
        where = table.schema.metadata[b"where"].decode()
        made = events.normalised(table, spec, domain, where)
        part = made.table.drop_columns(sorted(lacks[domain]))
        if features.SOURCE in part.column_names:
            _count_sources(part, spec.source_names, sources)
            part = part.drop_columns([features.SOURCE])
        _prepare(part, edges)
        if domain not in domains:
            domains[domain] = measures.Domain(spec.user, spec.item)
        domains[domain].add(part, edges)
        domains[domain].counts.update(made.counts)
        watch.add(domain, made)
        progress(len(part))
    if not any(of.rows for of in domains.values()):
        raise ValueError(
            "There are no rows to check. Check the paths and the filters "
            "(`keep`, `drop`, `where`) of the logs."
        )
    return {
        "stops": _stops(watch),
        "domains": {
            name: {
                **_domain(domains[name]),
                "sampled": name in spec.negatives,
            }
            for name in features.DOMAINS
            if name in domains
        },
        "sources": {name: _source(of) for name, of in sources.items()},
        "features": {
            name: _feature(name, domains, _apart(spec)) for name in edges
        },
    }


def _stops(watch: day_watch.DayWatch) -> list[str]:
    """Return what a conversion would say of the days and stop at."""
    found = []
    for look in (watch.check_zone, lambda: watch.far({})):
        try:
            look()
        except ValueError as error:
            found.append(str(error))
    return found


def _apart(spec: toml_spec.ConversionSpec) -> set[str]:
    """Return the features whose ids in ads never are those of natural logs."""
    apart = set()
    for feature in spec.features:
        spaces: dict[str, set[str]] = {}
        for log in spec.logs:
            space = log.id_spaces.get(feature.table, feature.table)
            spaces.setdefault(log.domain, set()).add(space)
        if len(spaces) > 1 and not set.intersection(*spaces.values()):
            apart.add(feature.name)
    return apart


def _of(feature: toml_spec.Column) -> tuple[str, ...]:
    """Return the domains whose logs have a feature."""
    of_both = feature.domain == "both"
    return features.DOMAINS if of_both else (feature.domain,)


def _prepare(part: pa.Table, edges: dict[str, np.ndarray | None]) -> None:
    """Choose the parts that the values of each feature are counted in."""
    for name in part.column_names:
        dtype = part[name].type
        if name in ("timestamp", "click", "day") or name in edges:
            continue
        if pa.types.is_floating(dtype):
            edges[name] = measures.edges(part[name])
        elif (
            pa.types.is_integer(dtype)
            or pa.types.is_string(dtype)
            or pa.types.is_nested(dtype)
        ):
            edges[name] = None


def _count_sources(
    part: pa.Table, names: tuple[str, ...], sources: dict[str, dict]
) -> None:
    """Count the rows, clicks and days of each source."""
    number = part[features.SOURCE].to_numpy()
    click, day = part["click"].to_numpy(), part["day"].to_numpy()
    for place, name in enumerate(names, 1):
        mask = number == place
        of = sources[name]
        of["rows"] += int(mask.sum())
        of["clicks"] += int(click[mask].sum())
        of["days"] |= set(np.unique(day[mask]).tolist())


def _source(of: dict) -> dict:
    days = sorted(of["days"])
    ends = [windows.day_name(day) for day in (days[:1] + days[-1:])]
    return {
        "rows": of["rows"],
        "clicks": of["clicks"],
        "days": len(days),
        "first": ends[0] if ends else None,
        "last": ends[-1] if ends else None,
    }


def _domain(of: measures.Domain) -> dict:
    return {
        "rows": of.rows,
        "clicks": of.clicks,
        "first": of.first,
        "last": of.last,
        "days": {
            windows.day_name(day): counts.tolist()
            for day, counts in sorted(of.days.items())
        },
        "gaps": [windows.day_name(day) for day in of.gaps()],
        "duplicates": of.events.repeated,
        "counts": {what: rows for what, rows in of.counts.items() if rows},
    }


def _feature(
    name: str, domains: dict[str, measures.Domain], apart: set[str]
) -> dict:
    found: dict = {}
    for domain, of in domains.items():
        feature = of.features.get(name)
        if feature is None or not feature.rows:
            continue
        number = feature.edges is not None
        found["kind"] = "number" if number else "id"
        known = feature.rows > feature.missing
        found[domain] = {
            "missing": feature.missing / feature.rows,
            "values": feature.values.distinct,
            "low": feature.low if number and known else None,
            "high": feature.high if number and known else None,
            "mean": feature.mean,
            "drift": measures.instability(
                *(feature.counts(days) for days in of.halves())
            ),
        }
    if set(features.DOMAINS) <= set(found):
        natural, ads = (domains[d].features[name] for d in features.DOMAINS)
        found["shift"] = measures.instability(
            natural.counts(list(natural.parts)), ads.counts(list(ads.parts))
        )
        if found["kind"] == "id" and name not in apart:
            shared = ads.values.shared(natural.values)
            found["shared_ids"], found["shared_rows"] = shared or (None, None)
    return found
