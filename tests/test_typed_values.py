import dataclasses

import pytest

from ecdctr_tf import typed_values


@dataclasses.dataclass
class Part:
    name: str
    size: int = 1
    share: float = 0.5
    on: bool = False
    days: tuple[str, ...] = ()
    limits: dict[str, int] = dataclasses.field(default_factory=dict)
    last: str | None = None


def test_make_gives_what_was_given():
    part = typed_values.make(
        Part, "a part", {"name": "x", "days": ["a"], "share": 1, "last": None}
    )
    assert part == Part("x", share=1, days=("a",))
    assert isinstance(part.share, int)


@pytest.mark.parametrize(
    "given, message",
    [
        (None, "a part should be a table. Received: None"),
        ({}, "a part lacks name."),
        (
            {"name": "x", "b": 1, "a": 1},
            "unknown keys: a, b. The known keys are name",
        ),
        ({"name": 5}, "`name` of a part should be text. Received: 5"),
        ({"name": "x", "size": True}, "`size`.*a whole number. Received: True"),
        ({"name": "x", "size": 1.0}, "`size`.*a whole number"),
        ({"name": "x", "share": False}, "`share`.*a finite number"),
        ({"name": "x", "share": float("inf")}, "`share`.*a finite number"),
        ({"name": "x", "on": 1}, "`on`.*true or false"),
        ({"name": "x", "days": "ab"}, "`days`.*a list whose entries are text"),
        ({"name": "x", "days": [1]}, "`days`.*a list whose entries are text"),
        ({"name": "x", "limits": {"a": "b"}}, "values are a whole number"),
        ({"name": "x", "limits": [1]}, "a table whose values are a whole"),
        ({"name": "x", "last": 1}, "`last`.*should be text or null"),
        ({"name": "x", "last": list(range(99))}, r"Received: .{60}\.\.\.$"),
    ],
)
def test_make_names_what_is_wrong(given, message):
    with pytest.raises(ValueError, match=message):
        typed_values.make(Part, "a part", given)


@pytest.mark.parametrize(
    "text", ["[" * 10**5, "NaN", '{"a": -Infinity}', "[1e999]", "{"]
)
def test_from_json_of_what_is_not_json_raises(text):
    with pytest.raises(ValueError):
        typed_values.from_json(text)


def test_to_json_names_the_number_that_is_not_finite():
    value = {"a": [1.0, {"b": float("nan")}]}
    with pytest.raises(ValueError, match="`a.1.b` of it should be.*nan"):
        typed_values.to_json(value, "it")
    value["a"][1]["b"] = 2.5
    text = typed_values.to_json(value, "it")
    assert typed_values.from_json(text) == value


def test_a_damaged_list_is_named_and_advice_is_a_sentence(tmp_path):
    path = tmp_path / "specs.json"
    said = rf"{path} does not hold specs: .*\)\. Put it back\."
    for content in ("", "[1, "):
        path.write_text(content)
        with pytest.raises(ValueError, match=said):
            typed_values.read_list(path, int, "specs", "Put it back.")
    path.write_text("{}")
    with pytest.raises(ValueError, match=r"Received: \{\}\. Put it back\."):
        typed_values.read_list(path, int, "specs", "Put it back.")
    path.write_text("[1, 2]")
    assert typed_values.read_list(path, int, "specs", "") == [1, 2]
