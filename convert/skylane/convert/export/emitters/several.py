"""Estimators that answer several numbers, each by a model of its own, and votes that are not counted."""

from typing import Any

import numpy as np
from sklearn.ensemble import VotingClassifier, VotingRegressor
from sklearn.multioutput import MultiOutputRegressor, RegressorChain

from skylane.convert.errors import Refused
from skylane.convert.export.emitters.emission import Emission
from skylane.convert.export.emitters.ensembles import asked, named, voters
from skylane.convert.export.emitters.features import Features
from skylane.convert.export.emitters.registry import emits


@emits("predict", MultiOutputRegressor)
def side_by_side(model: Any, features: Features, emission: Emission) -> Features:
    """A model for each number."""
    return emission.beside(asked(named(model.estimators_), "predict", features, emission))


@emits("predict", RegressorChain)
def chained(chain: Any, features: Features, emission: Emission) -> Features:
    """A model for each number, which also sees those before it."""
    answers: list[Features] = []
    for name, member in named(chain.estimators_):
        seen = Features.joined([emission.settled(one) for one in (features, *answers)])
        answers.append(Features.of(emission.tensor(emission.ask(member, "predict", seen, step=name))))
    return Features.joined([answers[place] for place in np.argsort(chain.order_)])


@emits("transform", VotingRegressor)
def predictions(vote: Any, features: Features, emission: Emission) -> Features:
    """What each member predicts."""
    return emission.beside(asked(voters(vote), "predict", features, emission))


@emits("transform", VotingClassifier)
def votes(vote: Any, features: Features, emission: Emission) -> Features:
    """The members' probabilities side by side, or the places of the classes that they vote for."""
    if vote.voting == "hard":
        places = [emission.vector(one) for one in asked(voters(vote), "predict", features, emission)]
        return Features.joined([Features.of(emission.cast(place)) for place in places])
    if not vote.flatten_transform:
        raise Refused(f"the step {emission.at} answers a table for each row: set flatten_transform=True")
    return emission.beside(asked(voters(vote), "predict_proba", features, emission))
