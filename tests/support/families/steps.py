"""Families of transformers, with settings to draw, each with a model behind."""

from typing import Any, Final

import numpy as np
from hypothesis import strategies as st
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.feature_selection import SelectKBest
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.kernel_approximation import Nystroem, RBFSampler
from sklearn.linear_model import (
    LogisticRegression,
    Ridge,
)
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    SplineTransformer,
    StandardScaler,
    TargetEncoder,
)

from support.families.rows import FEW, STATE, Family, Target, of, scaled


def before(step: st.SearchStrategy[Any], target: Target = "numbers") -> st.SearchStrategy[Any]:
    """A transformer with a linear model behind."""
    model = Ridge() if target == "numbers" else LogisticRegression()
    return step.map(lambda one: make_pipeline(one, model))


STEPS: Final = (
    Family("PCA", before(st.builds(PCA, FEW, whiten=st.booleans(), random_state=STATE)), "numbers"),
    Family("SVD", before(st.builds(TruncatedSVD, FEW, random_state=STATE)), "numbers"),
    Family(
        "scalers alone",
        of(StandardScaler(), RobustScaler(), MinMaxScaler(clip=True), MaxAbsScaler(), Normalizer()),
        "nothing",
        scaled=False,
    ),
    Family(
        "imputers",
        before(
            st.builds(SimpleImputer, strategy=of("mean", "median", "most_frequent"), add_indicator=st.booleans()).map(
                lambda one: make_pipeline(one, StandardScaler())
            )
        ),
        "numbers",
        ("tame", "hard", "gaps"),
        scaled=False,
        gaps=True,
    ),
    Family(
        "nearest neighbours, imputer",
        before(
            st.builds(KNNImputer, n_neighbors=FEW, weights=of("uniform", "distance"), add_indicator=st.booleans()).map(
                lambda one: make_pipeline(StandardScaler(), one)
            )
        ),
        "numbers",
        ("tame", "hard", "gaps"),
        scaled=False,
        gaps=True,
    ),
    Family(
        "kernel maps",
        before(
            scaled(
                st.builds(
                    Nystroem, of("rbf", "poly", "sigmoid"), gamma=of(None, 0.1), n_components=of(12), random_state=STATE
                )
                | st.builds(RBFSampler, gamma=of(0.1, 0.5), n_components=of(12), random_state=STATE)
            )
        ),
        "numbers",
    ),
    Family(
        "polynomial features",
        before(scaled(st.builds(PolynomialFeatures, of(2, 3), interaction_only=st.booleans()))),
        "numbers",
    ),
    Family(
        "bins",
        before(
            st.builds(
                KBinsDiscretizer, FEW, encode=of("onehot", "onehot-dense", "ordinal"), quantile_method=of("linear")
            ),
            "classes",
        ),
        kinds=("tame", "hard", "gaps"),
        scaled=False,
    ),
    Family(
        "power transformer",
        before(scaled(st.builds(PowerTransformer))),
        "numbers",
    ),
    Family(
        "quantile transformer",
        before(st.builds(QuantileTransformer, n_quantiles=of(20), output_distribution=of("uniform"))),
        "numbers",
        ("tame", "hard", "gaps"),
        scaled=False,
    ),
    Family("splines", before(st.builds(SplineTransformer, FEW)), "numbers", ("tame", "hard")),
    Family(
        "functions",
        before(st.builds(FunctionTransformer, of(np.abs, np.square, np.tanh, np.sin))),
        "numbers",
        ("tame", "gaps"),
    ),
    Family(
        "a function of one's own", before(st.just(FunctionTransformer(lambda rows: rows + 1))), "numbers", ("tame",)
    ),
    Family("selection", before(st.builds(SelectKBest, k=FEW), "classes"), kinds=("tame", "hard", "gaps")),
    Family(
        "union",
        before(st.just(FeatureUnion([("a", StandardScaler()), ("b", PCA(2))], transformer_weights={"a": 2.0}))),
        "numbers",
    ),
    Family(
        "one-hot encoder",
        before(
            st.builds(
                OneHotEncoder, handle_unknown=of("ignore", "infrequent_if_exist"), min_frequency=of(None, 40)
            ).map(lambda one: ColumnTransformer([("texts", one, ["city", "plan", "code"])])),
            "classes",
        ),
        kinds=("strings",),
        whole=True,
    ),
    Family(
        "ordinal encoder",
        before(
            st.builds(OrdinalEncoder, handle_unknown=of("use_encoded_value"), unknown_value=of(-1)).map(
                lambda one: ColumnTransformer([("texts", one, ["city", "plan", "code"])])
            ),
            "classes",
        ),
        kinds=("strings",),
        whole=True,
    ),
    Family(
        "target encoder",
        before(
            st.builds(TargetEncoder, random_state=STATE).map(
                lambda one: ColumnTransformer([("texts", one, ["city", "plan"])])
            ),
            "classes",
        ),
        kinds=("strings",),
        whole=True,
    ),
    Family(
        "word counts",
        st.builds(CountVectorizer, binary=st.booleans(), ngram_range=of((1, 1), (1, 2))),
        kinds=("strings",),
        texts=True,
    ),
    Family(
        "TF-IDF",
        st.builds(
            TfidfVectorizer, sublinear_tf=st.booleans(), norm=of("l1", "l2", None), ngram_range=of((1, 1), (1, 2))
        ),
        kinds=("strings",),
        texts=True,
    ),
    Family(
        "TF-IDF of characters",
        st.builds(TfidfVectorizer, analyzer=of("char", "char_wb")),
        kinds=("strings",),
        texts=True,
    ),
)
