"""Which labels detectors take for one another from frame to frame."""

import numpy as np
from numpy.typing import NDArray

from appliance.core.vocabulary import Vocabulary

# Of no common group, as people count them apart, and yet easily taken for one another.
TWO_WHEELERS = frozenset({"bicycle", "motorbike", "motorcycle", "scooter"})


class Kinship:
    """What the tracker knows of a model's classes.

    Attributes:
        grouped: Shape (C, C): the two are of one group, or the same.
        kin: Shape (C, C): the two are of one group, or easily taken for one another.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        kinds = np.array(vocabulary.kinds(), np.intp)
        rides = np.array([label.lower() in TWO_WHEELERS for label in vocabulary.labels])
        self.grouped: NDArray[np.bool_] = kinds[:, None] == kinds
        self.kin: NDArray[np.bool_] = self.grouped | (rides[:, None] & rides)
        leaders, self._groups = np.unique(kinds, return_inverse=True)
        self._members = np.eye(len(leaders), dtype=np.float32)[self._groups]
        self._has_groups = len(leaders) < len(kinds)

    def elect(self, votes: NDArray[np.float32]) -> NDArray[np.intp]:
        """Give the class with most votes within the group that has most of them together.

        Somebody who was a car or a truck in most frames is a vehicle, even if a person had the most of all labels.

        Args:
            votes: Shape (N, K), not negative, of the first K classes; the others have none.

        Returns:
            Class ids, shape (N,).
        """
        if self._has_groups:
            groups = self._groups[: votes.shape[1]]
            chosen = votes.dot(self._members[: votes.shape[1]]).argmax(axis=1)
            votes = np.where(groups == chosen[:, None], votes, np.float32(-1.0))
        elected: NDArray[np.intp] = votes.argmax(axis=1)
        return elected
