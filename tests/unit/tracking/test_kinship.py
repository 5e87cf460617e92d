import numpy as np

from appliance.tracking.kinship import Kinship
from tests.unit.tracking.stage import LABELS, VOCABULARY

PERSON, BICYCLE, CAR, DOG, BUS, TRUCK = range(len(LABELS))


def test_labels_of_a_group_are_kin_and_so_are_two_wheelers() -> None:
    labels = (*LABELS, "motorcycle")
    kinship = Kinship(type(VOCABULARY)(labels, {"vehicle": ("car", "bus", "truck", "motorcycle")}))
    motorcycle = len(LABELS)
    kin = {tuple(pair) for pair in np.argwhere(np.triu(kinship.kin, 1)).tolist()}
    assert kin == {
        (CAR, BUS),
        (CAR, TRUCK),
        (BUS, TRUCK),
        (CAR, motorcycle),
        (BUS, motorcycle),
        (TRUCK, motorcycle),
        (BICYCLE, motorcycle),
    }
    assert (np.argwhere(kinship.kin & ~kinship.grouped) == [(BICYCLE, motorcycle), (motorcycle, BICYCLE)]).all()
    assert (kinship.kin == kinship.kin.T).all()
    assert kinship.kin.diagonal().all()


def test_the_strongest_label_of_the_strongest_group_is_elected() -> None:
    votes = np.zeros((3, len(LABELS)), np.float32)
    votes[0, [PERSON, CAR, TRUCK]] = 3.0, 2.0, 2.5
    votes[1, [PERSON, CAR, TRUCK]] = 5.0, 2.0, 2.5
    votes[2, DOG] = 0.1
    assert Kinship(VOCABULARY).elect(votes).tolist() == [TRUCK, PERSON, DOG]


def test_votes_for_the_first_classes_only_are_enough() -> None:
    votes = np.array([[0.5, 0.0, 0.6]], np.float32)
    assert Kinship(VOCABULARY).elect(votes).tolist() == [CAR]
