"""docs/conversion_spec.md against the classes it is made from."""

import dataclasses
import pathlib

from ecdctr_tf.input.conversion import past_spec, reference, toml_spec

ROOT = pathlib.Path(__file__).parent.parent


def test_page_is_up_to_date():
    page = (ROOT / "docs/conversion_spec.md").read_text(encoding="utf-8")
    assert page == reference.page(), "Run `make reference`."


def test_each_table_of_a_spec_has_a_section():
    wanted = {*toml_spec._LISTS.values(), *toml_spec._LISTS_OF_LOG.values()}
    wanted |= {toml_spec.ConversionSpec, past_spec.Negatives}
    assert wanted <= set(reference.TABLES.values())


def test_each_key_is_described():
    for kind in reference.TABLES.values():
        page = reference._table("x", kind)
        for field in dataclasses.fields(kind):
            row = next(
                (r for r in page.splitlines() if f"| `{field.name}` |" in r),
                None,
            )
            if row is None:
                continue  # It has a section of its own.
            assert row.split(" | ")[3].strip(" |"), row
