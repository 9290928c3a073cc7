"""Libraries whose estimators cannot be converted, and what their users can do."""

from typing import Any, Final

LIBRARIES: Final = {
    "catboost": "save it with save_model('model.onnx', format='onnx'), which CatBoost does for models without "
    "categorical features, and publish that with `skylane import model.onnx --name NAME`; or train "
    "HistGradientBoosting, LightGBM or XGBoost",
    "category_encoders": "use OneHotEncoder, OrdinalEncoder or TargetEncoder of scikit-learn in a ColumnTransformer",
    "feature_engine": "use SimpleImputer, OneHotEncoder, OrdinalEncoder or KBinsDiscretizer of scikit-learn in a "
    "ColumnTransformer",
}
"""A library's package → advice."""


def library_advice(estimator: Any) -> str | None:
    """Advice for users of this estimator; None if its library is not listed."""
    return LIBRARIES.get(type(estimator).__module__.partition(".")[0])
