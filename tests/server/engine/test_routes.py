"""Routes: which version answers, and the errors for others."""

import pytest

from skylane.policy import Policy
from skylane.server.core.errors import ModelNotFound
from skylane.server.core.types import Array, Interface, Route
from skylane.server.engine.cost import CostModel
from skylane.server.engine.routes import UNKNOWN_MAX, ModelRoutes, Routes
from skylane.server.engine.served_version import LoadedModel, ServedVersion


class Idle:
    """A runner that no test runs."""

    def run(self, inputs: object) -> list[Array]:
        """See Runner."""
        raise AssertionError("nothing runs here")


def served_version(model: str, version: int) -> ServedVersion:
    loaded = LoadedModel(
        interface=Interface(model, version, (), (), ()), runner=Idle(), cost=CostModel([(1, 1.0)]), empty=()
    )
    return ServedVersion(loaded, Policy())


ROUTES = Routes(
    {
        "flights_late": ModelRoutes(
            {v: served_version("flights_late", v) for v in (3, 5, 4)}, 4, {"stable": 3, "next": 5}
        ),
        "wine": ModelRoutes({1: served_version("wine", 1)}, 1),
    }
)


@pytest.mark.parametrize(
    ("route", "version"),
    [
        pytest.param(Route("flights_late"), 4, id="by name: the latest, which need not be the newest"),
        pytest.param(Route("flights_late", version=5), 5, id="by version: that one"),
        pytest.param(Route("flights_late", label="stable"), 3, id="by label: the version that it names"),
        pytest.param(Route("wine"), 1, id="another model has versions of its own"),
    ],
)
def test_who_answers(route: Route, version: int) -> None:
    found = ROUTES.served_version(route).model.interface
    assert (found.model, found.version) == (route.model, version)


@pytest.mark.parametrize(
    ("routes", "route", "message"),
    [
        pytest.param(
            Routes(), Route("wine"), "there is no model 'wine': no model is ready yet", id="before anything is loaded"
        ),
        pytest.param(
            ROUTES,
            Route("iris"),
            "there is no model 'iris': this server has flights_late and wine",
            id="a model that does not exist",
        ),
        pytest.param(
            Routes(refused={"wine": "model.onnx: damaged"}),
            Route("wine", version=2),
            "no version of model 'wine' serves: model.onnx: damaged",
            id="a model of which none could be loaded",
        ),
        pytest.param(
            ROUTES,
            Route("flight_late"),
            "there is no model 'flight_late': did you mean 'flights_late'? this server has flights_late and wine",
            id="a model misspelt",
        ),
        pytest.param(
            ROUTES,
            Route("flights_late", version=1),
            "version 1 of model 'flights_late' is not loaded: loaded are 3, 4 and 5",
            id="a version that is not loaded",
        ),
        pytest.param(
            ROUTES,
            Route("wine", version=2),
            "version 2 of model 'wine' is not loaded: loaded is 1",
            id="a version of a model that has one",
        ),
        pytest.param(
            ROUTES,
            Route("flights_late", label="sable"),
            "model 'flights_late' has no label 'sable': its labels are stable and next",
            id="a label that does not exist",
        ),
        pytest.param(
            ROUTES,
            Route("wine", label="stable"),
            "model 'wine' has no label 'stable': it has no labels",
            id="a label of a model without any",
        ),
        pytest.param(
            ROUTES,
            Route("\x1b[2J" + "n" * 200),
            f"there is no model '\\x1b[2J{'n' * 96}…': this server has flights_late and wine",
            id="a name made to harm a terminal",
        ),
    ],
)
def test_who_does_not(routes: Routes, route: Route, message: str) -> None:
    with pytest.raises(ModelNotFound) as raised:
        routes.served_version(route)
    assert str(raised.value) == message


def test_similar_names_are_looked_for_once_for_each_unknown_model_and_not_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compared: list[str] = []

    def counted(name: str, candidates: object) -> str:
        compared.append(name)
        return f"like {name}? "

    monkeypatch.setattr("skylane.server.engine.routes.suggestion", counted)
    routes = Routes({"wine": ModelRoutes({1: served_version("wine", 1)}, 1)})
    texts = set()
    for _ in range(100):
        with pytest.raises(ModelNotFound) as caught:
            routes.served_version(Route("wines"))
        texts.add(str(caught.value))
    assert compared == ["wines"]
    assert texts == {"there is no model 'wines': like wines? this server has wine"}
    for number in range(3 * UNKNOWN_MAX):
        with pytest.raises(ModelNotFound, match="this server has wine"):
            routes.served_version(Route(f"model {number}"))
    assert len(compared) == UNKNOWN_MAX


def test_what_is_unknown_is_looked_up_anew_in_other_routes() -> None:
    with pytest.raises(ModelNotFound):
        Routes().served_version(Route("wine"))
    assert ROUTES.served_version(Route("wine")).model.interface.model == "wine"
