"""Types of the sequential tests."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
