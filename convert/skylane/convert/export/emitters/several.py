"""Regressors with several outputs, one model for each, and the transform method of voting ensembles."""

from typing import Any

import numpy as np
from sklearn.ensemble import VotingClassifier, VotingRegressor
from sklearn.multioutput import MultiOutputRegressor, RegressorChain

from skylane.convert.errors import Refused
from skylane.convert.export.emitters.emission import Emission
from skylane.convert.export.emitters.ensembles import member_outputs, named, voters
from skylane.convert.export.emitters.features import Features
from skylane.convert.export.emitters.registry import emits


@emits("predict", MultiOutputRegressor)
def side_by_side(model: Any, features: Features, emission: Emission) -> Features:
    """One model for each output."""
    return emission.beside(member_outputs(named(model.estimators_), "predict", features, emission))


@emits("predict", RegressorChain)
def chained(chain: Any, features: Features, emission: Emission) -> Features:
    """One model for each output, which also gets the outputs before it as inputs."""
    outputs: list[Features] = []
    for name, member in named(chain.estimators_):
        inputs = Features.joined([emission.settled(one) for one in (features, *outputs)])
        outputs.append(Features.of(emission.tensor(emission.emit(member, "predict", inputs, step=name))))
    return Features.joined([outputs[place] for place in np.argsort(chain.order_)])


@emits("transform", VotingRegressor)
def predictions(vote: Any, features: Features, emission: Emission) -> Features:
    """Each member's prediction."""
    return emission.beside(member_outputs(voters(vote), "predict", features, emission))


@emits("transform", VotingClassifier)
def votes(vote: Any, features: Features, emission: Emission) -> Features:
    """The members' probabilities concatenated, or the indices of the classes that they vote for."""
    if vote.voting == "hard":
        places = [emission.vector(one) for one in member_outputs(voters(vote), "predict", features, emission)]
        return Features.joined([Features.of(emission.cast(place)) for place in places])
    if not vote.flatten_transform:
        raise Refused(f"the step {emission.at} answers a table for each row: set flatten_transform=True")
    return emission.beside(member_outputs(voters(vote), "predict_proba", features, emission))
