"""ValueLimits: gaps and infinities that the pipeline refuses are refused, whatever the graph would answer."""

import numpy as np
import pytest

from skylane.manifest import ColumnSpec, TensorSpec
from skylane.server.core.errors import InputMismatch
from skylane.server.core.value_limits import ValueLimits

NAN, INF = np.nan, np.inf


def limits(no_nan: tuple[int, ...], no_inf: tuple[int, ...], *, columns: bool = False) -> ValueLimits:
    tensor = TensorSpec(name="t", dtype="float32", shape=(None, 2), no_nan=no_nan, no_inf=no_inf)
    named = [
        ColumnSpec(name="a", dtype="float32", tensor="t", index=0),
        ColumnSpec(name="b", dtype="float32", tensor="t", index=1, missing="NaN"),
    ]
    return ValueLimits([tensor], named if columns else [])


GAP = "tensor 't', place {}: the pipeline accepts no gaps here, but the value of row {} is missing"
INFINITY = "tensor 't', place {}: the pipeline accepts no infinity here, but the value of row {} is one in float32"


@pytest.mark.parametrize(
    ("made", "rows", "message"),
    [
        pytest.param(limits((), ()), [[NAN, INF]], None, id="no limits, nothing is refused"),
        pytest.param(limits((0, 1), (0, 1)), [[1, 2], [3, 4]], None, id="plain numbers pass the strictest limits"),
        pytest.param(limits((0, 1), (0, 1)), [[1, 2], [3, NAN]], GAP.format(1, 1), id="a gap anywhere"),
        pytest.param(limits((0, 1), (0, 1)), [[-INF, 2]], INFINITY.format(0, 0), id="an infinity anywhere"),
        pytest.param(limits((1,), ()), [[NAN, 2]], None, id="a gap where it is accepted"),
        pytest.param(limits((1,), ()), [[NAN, 2], [0, NAN]], GAP.format(1, 1), id="a gap where it is not"),
        pytest.param(limits((), (0,)), [[NAN, INF]], None, id="an infinity where it is accepted"),
        pytest.param(limits((), (0,)), [[INF, 0]], INFINITY.format(0, 0), id="an infinity where it is not"),
        pytest.param(
            limits((), (), columns=True),
            [[NAN, NAN]],
            "column 'a': the pipeline accepts no gaps here, but the value of row 0 is missing",
            id="a column that takes no gap takes none as part of a tensor either",
        ),
        pytest.param(limits((0, 1), (0, 1)), np.zeros((0, 2)), None, id="no rows"),
    ],
)
def test_values(made: ValueLimits, rows: object, message: str | None) -> None:
    arrays = [np.array(rows, np.float32)]
    assert made.hold(arrays) is (message is None)
    if message is None:
        made.check(arrays)
    else:
        with pytest.raises(InputMismatch) as refused:
            made.check(arrays)
        assert str(refused.value) == message
