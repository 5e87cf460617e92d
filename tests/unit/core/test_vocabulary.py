import pytest

from appliance.core.vocabulary import Vocabulary, default_groups

LABELS = ("person", "bicycle", "car", "motorcycle", "bus", "truck")
WORDS = Vocabulary(LABELS, default_groups(LABELS))


def test_a_bicycle_is_no_vehicle_and_all_with_a_motor_are() -> None:
    assert WORDS.groups == {"vehicle": ("car", "motorcycle", "bus", "truck")}
    assert [WORDS.group_of(label) for label in LABELS] == [None, None, *["vehicle"] * 4]


def test_the_names_of_other_label_sets_count_too() -> None:
    assert default_groups(("Car", "van", "motorbike", "tram")) == {"vehicle": ("Car", "van", "motorbike")}


@pytest.mark.parametrize("labels", [("person", "dog"), ("car", "Vehicle")])
def test_no_group_is_offered_without_members_or_under_the_name_of_a_label(labels: tuple[str, ...]) -> None:
    assert default_groups(labels) == {}


def test_a_group_stands_for_all_of_its_labels() -> None:
    assert WORDS.wanted(("vehicle",)) == (False, False, True, True, True, True)
    assert WORDS.wanted(("person", "vehicle", "car")) == (True, False, True, True, True, True)
    assert WORDS.wanted(("bicycle",)) == (False, True, False, False, False, False)
    assert WORDS.wanted(()) == (True,) * 6


def test_labels_of_one_group_have_one_number() -> None:
    assert WORDS.kinds() == (0, 1, 2, 2, 2, 2)
    assert Vocabulary(LABELS).kinds() == (0, 1, 2, 3, 4, 5)


def test_what_can_be_named_is_told_in_one_line() -> None:
    assert WORDS.unknown(("vehicle", "lorry", "person")) == ["lorry"]
    assert Vocabulary(("dog", "cat")).described() == "labels dog, cat; groups none"
    assert WORDS.described().endswith("bus, truck; groups vehicle (car, motorcycle, bus, truck)")
