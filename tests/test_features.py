import dataclasses
import json
import re

import pytest

from ecdctr_tf import features


def test_table_spec_of_unknown_id_space_raises():
    with pytest.raises(ValueError, match="`ids` of table 'user' should be one"):
        features.TableSpec("user", ids="dictionary")


def test_table_spec_of_unknown_dtype_raises():
    with pytest.raises(ValueError, match="`dtype` of table 'user'.*'float'"):
        features.TableSpec("user", dtype="float")


@pytest.mark.parametrize("buckets", [0, -1, 1.5, "2"])
def test_table_spec_without_buckets_raises(buckets):
    with pytest.raises(ValueError, match="`buckets` of table 'user'"):
        features.TableSpec("user", buckets=buckets)


# Each fails later: as a file, a layer, an input or an exported argument.
BAD_NAMES = (
    *("click", "timestamp", "day", "domain", "self", "training", "class"),
    *("None", "", "a b", "a/b", "../../evil", "größe", "_x", "1x", "a.b"),
    *("a-b", "a\n", "x" * 65, 5, None),
)


@pytest.mark.parametrize("name", BAD_NAMES)
def test_name_that_cannot_be_used_everywhere_raises(name, tiny_spec):
    message = re.escape(f"Received: {name!r}")
    with pytest.raises(ValueError, match=f"name of a table .*{message}"):
        features.TableSpec(name)
    with pytest.raises(ValueError, match=f"name of a feature .*{message}"):
        features.FeatureSpec(name, table="user")
    with pytest.raises(ValueError, match=f"evaluation column .*{message}"):
        dataclasses.replace(tiny_spec, evaluation=(name,))


def test_feature_spec_of_unknown_kind_or_side_raises():
    with pytest.raises(ValueError, match="`kind` of feature 'x'"):
        features.FeatureSpec("x", kind="image", table="user")
    with pytest.raises(ValueError, match="`side` of feature 'x'"):
        features.FeatureSpec("x", table="user", side="ad")


def test_feature_spec_with_table_that_does_not_fit_its_kind_raises():
    with pytest.raises(ValueError, match="`table` of feature 'x'"):
        features.FeatureSpec("x", kind="dense", table="user")
    with pytest.raises(ValueError, match="`table` of feature 'x'"):
        features.FeatureSpec("x", kind="id")


def test_feature_spec_with_length_that_does_not_fit_its_kind_raises():
    with pytest.raises(ValueError, match="`max_length` of feature 'x'"):
        features.FeatureSpec("x", kind="sequence", table="item")
    with pytest.raises(ValueError, match="`max_length` of feature 'x'"):
        features.FeatureSpec("x", table="item", max_length=3)
    with pytest.raises(ValueError, match="`max_length` of feature 'x'"):
        features.FeatureSpec("x", table="item", max_length=-1)


CROSS = features.FeatureSpec(
    "both", "cross", "both", of=("user_id", "category")
)
HASHED = features.TableSpec("both", ids="hashing", buckets=9)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "cross", "table": "t", "of": ("a",)}, "`of` of feature 'x'"),
        ({"kind": "cross", "table": "t", "of": ("a", "a")}, "names of two id"),
        ({"kind": "position", "table": "t"}, "`default` of feature 'x'"),
        ({"kind": "vector", "length": -1}, "`length` of feature 'x'"),
        ({"table": "t", "ages": True}, "`ages`.*set for sequence only"),
        ({"kind": "dense", "default": 1}, "`default`.*set for position only"),
    ],
)
def test_fields_that_do_not_fit_the_kind_raise(fields, message):
    with pytest.raises(ValueError, match=message):
        features.FeatureSpec("x", **fields)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"of": ("user_id", "price")}, "kind 'id'.*'price'"),
        ({"of": ("user_id", "clicked")}, "kind 'id'.*'clicked'"),
        ({"of": ("user_id", "colour")}, "There is no feature 'colour'"),
        ({"basic": True}, "of a basic cross basic ones.*'category'"),
        ({"table": "item"}, 'should have `ids = "hashing"`'),
    ],
)
def test_a_cross_of_other_things_raises(tiny_spec, changes, message):
    cross = dataclasses.replace(CROSS, **changes)
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(
            tiny_spec,
            tables=(*tiny_spec.tables, HASHED),
            features=(*tiny_spec.features, cross),
        )


def test_a_cross_keeps_what_it_is_made_of(tiny_spec):
    spec = dataclasses.replace(
        tiny_spec,
        tables=(*tiny_spec.tables, HASHED),
        features=(*tiny_spec.features, CROSS),
    )
    less = spec.select(["user_id", "item_id", "both"])
    assert [f.name for f in less.features] == [
        *("user_id", "item_id", "category", "both")
    ]
    with pytest.raises(ValueError, match="'category' cannot be.*cross 'both'"):
        spec.without(["category"])
    assert "both" not in [f.name for f in spec.without(["both"]).features]
    assert [f.name for f in spec.basic().features] == ["user_id", "item_id"]


@pytest.mark.parametrize("default", ["1", True, 1.5])
def test_a_position_of_another_type_than_its_table_raises(tiny_spec, default):
    position = features.FeatureSpec(
        "position", "position", "item", default=default
    )
    with pytest.raises(ValueError, match="`default` of feature 'position'"):
        dataclasses.replace(tiny_spec, features=(*tiny_spec.features, position))


def test_no_basic_user_raises(tiny_spec):
    user = dataclasses.replace(tiny_spec.feature("user_id"), basic=False)
    spec = dataclasses.replace(
        tiny_spec, features=(user, *tiny_spec.features[1:])
    )
    with pytest.raises(ValueError, match="`basic = true`.*'user_id' is not"):
        spec.basic()


def test_data_spec_with_a_name_twice_raises(tiny_spec):
    with pytest.raises(ValueError, match="Each table needs.*'user' and 'USER'"):
        dataclasses.replace(
            tiny_spec, tables=(*tiny_spec.tables, features.TableSpec("USER"))
        )
    with pytest.raises(ValueError, match="Each feature.*'price' and 'Price'"):
        price = features.FeatureSpec("Price", "dense")
        dataclasses.replace(tiny_spec, features=(*tiny_spec.features, price))


def test_data_spec_with_missing_table_raises(tiny_spec):
    with pytest.raises(ValueError, match="names the unknown table 'item'"):
        dataclasses.replace(tiny_spec, tables=tiny_spec.tables[:1])


def test_data_spec_roles_are_id_features(tiny_spec):
    with pytest.raises(ValueError, match="'price' should be a feature of kind"):
        dataclasses.replace(tiny_spec, user="price")
    with pytest.raises(ValueError, match="There is no feature 'who'"):
        dataclasses.replace(tiny_spec, item="who")


# A second column of that name would replace the first one in every batch.
@pytest.mark.parametrize("name", ["price", "click", "day"])
def test_evaluation_column_named_like_another_column_raises(tiny_spec, name):
    with pytest.raises(ValueError, match=f"evaluation column .*'{name}'"):
        dataclasses.replace(tiny_spec, evaluation=(name,))


def test_lookup_by_name(tiny_spec):
    assert tiny_spec.feature("clicked").max_length == 3
    assert tiny_spec.table("category").dtype == "string"
    with pytest.raises(
        ValueError, match="no table 'shop'. The tables are user,"
    ):
        tiny_spec.table("shop")


def test_basic_keeps_basic_features_and_their_tables(tiny_spec):
    basic = tiny_spec.basic()
    assert [f.name for f in basic.features] == ["user_id", "item_id"]
    assert [t.name for t in basic.tables] == ["user", "item"]


def test_without_keeps_tables_that_others_use(tiny_spec):
    less = tiny_spec.without(["clicked", "category"])
    assert [f.name for f in less.features] == ["user_id", "item_id", "price"]
    assert [t.name for t in less.tables] == ["user", "item"]
    with pytest.raises(ValueError, match="There is no feature 'colour'"):
        tiny_spec.without(["colour"])


def test_fingerprint_changes_with_every_field(tiny_spec):
    price = features.FeatureSpec("price", "dense", side="item")
    others = [
        dataclasses.replace(tiny_spec, evaluation=()),
        dataclasses.replace(
            tiny_spec, features=(*tiny_spec.features[:-1], price)
        ),
        tiny_spec.without(["price"]),
    ]
    prints = {spec.fingerprint() for spec in [tiny_spec, *others]}
    assert len(prints) == 4


def test_spec_survives_its_file(tiny_spec, tmp_path):
    tiny_spec.save(tmp_path / "spec.json")
    loaded = features.DataSpec.load(tmp_path / "spec.json")
    assert loaded == tiny_spec
    assert loaded.fingerprint() == tiny_spec.fingerprint()


def test_user_and_item_cannot_be_excluded(tiny_spec):
    """The message does not say that there is no such feature."""
    with pytest.raises(ValueError, match="'item_id' cannot be excluded"):
        tiny_spec.without(["price", "item_id"])


def test_load_without_file_raises(tmp_path):
    with pytest.raises(FileNotFoundError, match="ecdctr_tf.input.convert"):
        features.DataSpec.load(tmp_path / "spec.json")


def test_load_of_other_files_raises(tiny_spec, tmp_path):
    path = tmp_path / "spec.json"
    unknown = dataclasses.asdict(tiny_spec)
    unknown["tables"][0]["colour"] = "red"
    wrong = [
        {**dataclasses.asdict(tiny_spec), key: value}
        for key, value in (
            ("tables", None),
            ("tables", {}),
            ("tables", [[]]),
            ("features", [{"name": 5, "table": "user"}]),
            ("features", [{"name": "x", "kind": "dense", "basic": 1}]),
            ("features", [{"table": "user"}]),
            ("user", 7),
            ("evaluation", "true_ctr"),
            ("evaluation", [1]),
        )
    ]
    deep, nan = "[" * 10**5, '{"tables": [NaN]}'
    texts = [json.dumps(values) for values in (unknown, *wrong)]
    for text in ("{", "[]", "{}", "7", "null", deep, nan, *texts):
        path.write_text(text)
        with pytest.raises(ValueError, match="spec.json is not a data spec"):
            features.DataSpec.load(path)
