"""Families of estimators that predict, with settings to draw."""

from typing import Any, Final

from hypothesis import strategies as st
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.compose import TransformedTargetRegressor
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
from sklearn.ensemble import (
    AdaBoostClassifier,
    AdaBoostRegressor,
    BaggingClassifier,
    BaggingRegressor,
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, Matern, WhiteKernel
from sklearn.linear_model import (
    ElasticNet,
    Lasso,
    LinearRegression,
    LogisticRegression,
    Ridge,
    RidgeClassifier,
    SGDClassifier,
    SGDRegressor,
)
from sklearn.model_selection import FixedThresholdClassifier, TunedThresholdClassifierCV
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier
from sklearn.naive_bayes import BernoulliNB, CategoricalNB, GaussianNB, MultinomialNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor, NearestCentroid
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    KBinsDiscretizer,
    MinMaxScaler,
    StandardScaler,
)
from sklearn.svm import SVC, SVR, LinearSVC, NuSVC, OneClassSVM
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from xgboost import XGBClassifier, XGBRegressor

from support.families.rows import FEW, STATE, Family, of, scaled


def _regressors() -> list[tuple[str, Any]]:
    return [("a", Ridge()), ("b", KNeighborsRegressor(3)), ("c", SVR())]


def _classifiers() -> list[tuple[str, Any]]:
    return [("a", LogisticRegression()), ("b", GaussianNB()), ("c", DecisionTreeClassifier(max_depth=3))]


MODELS: Final = (
    Family("linear regression", st.builds(LinearRegression, fit_intercept=st.booleans()), "numbers"),
    Family("Ridge", st.builds(Ridge, alpha=of(0.1, 10.0)), "numbers"),
    Family(
        "Lasso, elastic net", st.builds(Lasso, alpha=of(0.01, 0.5)) | st.builds(ElasticNet, alpha=of(0.01)), "numbers"
    ),
    Family(
        "SGD, regression",
        scaled(st.builds(SGDRegressor, random_state=STATE)),
        "numbers",
    ),
    Family("logistic regression", st.builds(LogisticRegression, C=of(0.1, 10.0))),
    Family(
        "SGD, classification",
        scaled(st.builds(SGDClassifier, loss=of("log_loss", "hinge"), random_state=STATE)),
    ),
    Family("Ridge, classification", st.builds(RidgeClassifier)),
    Family("linear discriminant analysis", st.builds(LinearDiscriminantAnalysis, solver=of("svd", "lsqr"))),
    Family("quadratic discriminant analysis", st.builds(QuadraticDiscriminantAnalysis, reg_param=of(0.1, 0.5))),
    Family("Gaussian naive Bayes", st.builds(GaussianNB)),
    Family(
        "multinomial naive Bayes", st.builds(MultinomialNB).map(lambda one: make_pipeline(MinMaxScaler(clip=True), one))
    ),
    Family("Bernoulli naive Bayes", st.builds(BernoulliNB, binarize=of(0.0, 0.5))),
    Family(
        "categorical naive Bayes",
        st.builds(CategoricalNB, min_categories=of(4)).map(
            lambda one: make_pipeline(KBinsDiscretizer(4, encode="ordinal", quantile_method="linear"), one)
        ),
        kinds=("tame", "hard", "gaps"),
    ),
    Family("linear SVM", st.builds(LinearSVC, C=of(0.1, 1.0), random_state=STATE)),
    Family(
        "SVM",
        scaled(st.builds(SVC, kernel=of("rbf", "poly", "sigmoid", "linear"), C=of(0.5, 2.0)))
        | st.builds(NuSVC, nu=of(0.2)),
    ),
    Family(
        "SVM with probabilities", st.builds(SVC, probability=st.just(True), random_state=STATE), kinds=("tame", "hard")
    ),
    Family(
        "SVM, regression",
        scaled(st.builds(SVR, kernel=of("rbf", "linear"), C=of(0.5, 2.0))),
        "numbers",
    ),
    Family("one-class SVM", st.builds(OneClassSVM, nu=of(0.1, 0.5)), "nothing"),
    Family(
        "network, classification",
        st.builds(
            MLPClassifier,
            st.tuples(FEW, FEW),
            activation=of("relu", "tanh", "logistic", "identity"),
            max_iter=st.just(20),
            random_state=STATE,
        ),
    ),
    Family(
        "network, regression",
        st.builds(
            MLPRegressor,
            hidden_layer_sizes=st.tuples(FEW, FEW),
            activation=of("relu", "tanh"),
            max_iter=st.just(20),
            random_state=STATE,
        ),
        "numbers",
    ),
    Family("nearest neighbours", st.builds(KNeighborsClassifier, FEW, weights=of("uniform", "distance"))),
    Family(
        "nearest neighbours, regression",
        st.builds(KNeighborsRegressor, FEW, weights=of("uniform", "distance")),
        "numbers",
    ),
    Family("nearest centroid", st.builds(NearestCentroid)),
    Family(
        "Gaussian process, regression",
        scaled(
            st.builds(
                GaussianProcessRegressor,
                st.sampled_from([RBF() + WhiteKernel(0.1), 2.0 * Matern(nu=1.5) + WhiteKernel(0.1)]),
                optimizer=st.none(),
                normalize_y=st.booleans(),
            )
        ),
        "numbers",
    ),
    Family(
        "decision tree", st.builds(DecisionTreeClassifier, max_depth=FEW, random_state=STATE), scaled=False, gaps=True
    ),
    Family(
        "decision tree, regression",
        st.builds(DecisionTreeRegressor, max_depth=FEW, random_state=STATE),
        "numbers",
        scaled=False,
        gaps=True,
    ),
    Family(
        "random forest", st.builds(RandomForestClassifier, FEW, max_depth=of(None, 3), random_state=STATE), gaps=True
    ),
    Family(
        "random forest, regression",
        st.builds(RandomForestRegressor, FEW, max_depth=of(None, 3), random_state=STATE),
        "numbers",
        gaps=True,
    ),
    Family("extra trees", st.builds(ExtraTreesClassifier, FEW, random_state=STATE), scaled=False, gaps=True),
    Family(
        "extra trees, regression",
        st.builds(ExtraTreesRegressor, FEW, random_state=STATE),
        "numbers",
        scaled=False,
        gaps=True,
    ),
    Family(
        "gradient boosting", st.builds(GradientBoostingClassifier, n_estimators=FEW, random_state=STATE), scaled=False
    ),
    Family(
        "gradient boosting, regression",
        st.builds(GradientBoostingRegressor, n_estimators=FEW, random_state=STATE),
        "numbers",
        scaled=False,
    ),
    Family(
        "histogram gradient boosting",
        st.builds(HistGradientBoostingClassifier, max_iter=FEW, random_state=STATE),
        scaled=False,
        gaps=True,
    ),
    Family(
        "histogram gradient boosting, regression",
        st.builds(HistGradientBoostingRegressor, max_iter=FEW, random_state=STATE),
        "numbers",
        scaled=False,
        gaps=True,
    ),
    Family(
        "LightGBM",
        st.builds(LGBMClassifier, n_estimators=FEW, random_state=STATE, verbose=st.just(-1), n_jobs=st.just(1)),
        scaled=False,
        gaps=True,
    ),
    Family(
        "LightGBM, regression",
        st.builds(LGBMRegressor, n_estimators=FEW, random_state=STATE, verbose=st.just(-1), n_jobs=st.just(1)),
        "numbers",
        scaled=False,
        gaps=True,
    ),
    Family(
        "XGBoost",
        st.builds(XGBClassifier, n_estimators=FEW, random_state=STATE, n_jobs=st.just(1)),
        "places",  # it takes no other labels than 0, 1, 2
        scaled=False,
        gaps=True,
    ),
    Family(
        "XGBoost, regression",
        st.builds(XGBRegressor, n_estimators=FEW, random_state=STATE, n_jobs=st.just(1)),
        "numbers",
        scaled=False,
        gaps=True,
    ),
    Family(
        "isolation forest", st.builds(IsolationForest, n_estimators=FEW, random_state=STATE), "nothing", scaled=False
    ),
    Family(
        "bagging",
        st.builds(
            BaggingClassifier,
            of(None, LogisticRegression(), LinearSVC()),
            FEW,
            max_features=of(1.0, 0.6),
            random_state=STATE,
        ),
    ),
    Family("bagging, regression", st.builds(BaggingRegressor, of(None, Ridge()), FEW, random_state=STATE), "numbers"),
    Family(
        "AdaBoost", st.builds(AdaBoostClassifier, of(None, LogisticRegression()), n_estimators=FEW, random_state=STATE)
    ),
    Family(
        "AdaBoost, regression",
        st.builds(AdaBoostRegressor, of(None, Ridge()), n_estimators=FEW, random_state=STATE),
        "numbers",
    ),
    Family(
        "vote",
        st.builds(VotingClassifier, st.builds(_classifiers), voting=of("soft", "hard"), weights=of(None, [2, 1, 1])),
    ),
    Family(
        "vote, regression", st.builds(VotingRegressor, st.builds(_regressors), weights=of(None, [2, 1, 1])), "numbers"
    ),
    Family("stacking", st.builds(StackingClassifier, st.builds(_classifiers), cv=of(2), passthrough=st.booleans())),
    Family("stacking, regression", st.builds(StackingRegressor, st.builds(_regressors), cv=of(2)), "numbers"),
    Family(
        "calibration",
        st.builds(
            CalibratedClassifierCV,
            of(LogisticRegression(), GaussianNB(), LinearSVC()),
            method=of("sigmoid", "isotonic", "temperature"),
            cv=of(2),
        ),
    ),
    Family(
        "a threshold of one's own",
        st.builds(
            FixedThresholdClassifier,
            of(LogisticRegression(), GaussianNB(), LinearDiscriminantAnalysis()),
            threshold=of("auto", 0.2, 0.7),
            response_method=of("auto", "predict_proba"),
        )
        | st.builds(TunedThresholdClassifierCV, of(LogisticRegression(), LinearSVC()), cv=of(2)),
        "pair",
    ),
    Family("one against the rest", st.builds(OneVsRestClassifier, of(LogisticRegression(), GaussianNB(), LinearSVC()))),
    Family("one against one", st.builds(OneVsOneClassifier, of(LogisticRegression(), GaussianNB()))),
    Family(
        "transformed target",
        st.builds(TransformedTargetRegressor, of(Ridge()), transformer=of(StandardScaler(), MinMaxScaler())),
        "numbers",
    ),
    Family(
        "k-means",
        st.builds(KMeans, FEW, n_init=of(1), random_state=STATE)
        | st.builds(MiniBatchKMeans, FEW, n_init=of(1), random_state=STATE),
        "nothing",
    ),
)
