"""Which steps output sparse rows. Nearly all models read absent entries as zero; XGBoost reads them as missing."""

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
"""These output sparse rows if they get sparse rows."""


def answers_sparse(step: Any, sparse: bool) -> bool:
    """Whether a fitted step outputs sparse rows, sparse whether its input is sparse."""
    match step:
        case ColumnTransformer():
            return bool(step.sparse_output_)
        case Pipeline():
            for _, part in step.steps:
                sparse = sparse if passes_on(part) else answers_sparse(part, sparse)
            return sparse
        case FeatureUnion():
            return any(answers_sparse(part, sparse) for _, part in step.transformer_list)
        case OneHotEncoder():
            return bool(step.sparse_output)
        case KBinsDiscretizer():
            return bool(step.encode == "onehot")
        case CountVectorizer() | HashingVectorizer() | TfidfTransformer():  # TfidfVectorizer is one of the first
            return True
        case None | "passthrough":
            return sparse
    return sparse and isinstance(step, PASS_ON)
