"""Which steps answer sparse rows. Nearly all models take what is left out for nought; XGBoost takes it for a gap."""

from typing import Any, Final

from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfTransformer
from sklearn.feature_selection import SelectorMixin
from sklearn.impute import SimpleImputer
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import (
    Binarizer,
    FunctionTransformer,
    KBinsDiscretizer,
    MaxAbsScaler,
    Normalizer,
    OneHotEncoder,
    PolynomialFeatures,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
)

from skylane.convert.inspection.structure import passes_on

PASS_ON: Final = (
    Binarizer, FunctionTransformer, MaxAbsScaler, Normalizer, PolynomialFeatures, QuantileTransformer, RobustScaler,
    SelectorMixin, SimpleImputer, StandardScaler,
)  # fmt: skip
"""These answer sparse rows to sparse rows."""


def answers_sparse(step: Any, given: bool) -> bool:
    """Whether a fitted step answers sparse rows, given such or not."""
    match step:
        case ColumnTransformer():
            return bool(step.sparse_output_)
        case Pipeline():
            for _, part in step.steps:
                given = given if passes_on(part) else answers_sparse(part, given)
            return given
        case FeatureUnion():
            return any(answers_sparse(part, given) for _, part in step.transformer_list)
        case OneHotEncoder():
            return bool(step.sparse_output)
        case KBinsDiscretizer():
            return bool(step.encode == "onehot")
        case CountVectorizer() | HashingVectorizer() | TfidfTransformer():  # TfidfVectorizer is one of the first
            return True
        case None | "passthrough":
            return given
    return given and isinstance(step, PASS_ON)
