"""The estimators keep scikit-learn's conventions, and do what its MLPs do."""

import io
import pickle

import numpy as np
import pytest

pytest.importorskip("sklearn")

import joblib
import sklearn
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import amcore
from amcore.sklearn import AMClassifier, AMRegressor

IRIS = load_iris(return_X_y=True)
CANCER = load_breast_cancer(return_X_y=True)
DIABETES = load_diabetes(return_X_y=True)
# Estimators of three kinds, each with its samples.
KINDS = {
    "multiclass": (AMClassifier, IRIS),
    "binary": (AMClassifier, CANCER),
    "regression": (AMRegressor, DIABETES),
    "outputs": (AMRegressor, (DIABETES[0], np.column_stack([DIABETES[1], DIABETES[0][:, 0]]))),
}


@pytest.fixture(params=KINDS)
def case(request):
    kind, (X, y) = KINDS[request.param]
    return kind(hidden_layer_sizes=10, max_iter=5, random_state=0), X, y


@pytest.mark.filterwarnings("ignore")  # those that the checks provoke
@parametrize_with_checks(
    [
        AMClassifier(hidden_layer_sizes=20, max_iter=20),
        AMRegressor(hidden_layer_sizes=20, max_iter=20),
    ]
)
def test_conventions(estimator, check):
    check(estimator)


def test_accuracy():
    X, y = CANCER
    model = make_pipeline(StandardScaler(), AMClassifier(random_state=0))
    assert cross_val_score(model, X, y, cv=3).mean() > 0.96
    X, y = DIABETES
    assert cross_val_score(AMRegressor(max_iter=20, random_state=0), X, y, cv=3).mean() > 0.35


def test_outputs_are_those_of_the_coefficients(case):
    model, X, y = case
    model.fit(X, y)
    V = X
    for W, b in zip(model.coefs_[:-1], model.intercepts_[:-1], strict=True):
        V = np.maximum(V @ W + b, 0)
    outputs = V @ model.coefs_[-1] + model.intercepts_[-1]
    assert outputs.shape == (len(X), model.n_outputs_)
    if isinstance(model, AMRegressor):
        np.testing.assert_allclose(model.predict(X).reshape(outputs.shape), outputs, rtol=1e-9)
        assert model.predict(X).shape == y.shape
    else:
        decision = model.decision_function(X)
        np.testing.assert_allclose(decision.reshape(outputs.shape), outputs, rtol=1e-7, atol=1e-9)
        proba = model.predict_proba(X)
        np.testing.assert_allclose(proba.sum(axis=1), 1)
        np.testing.assert_array_equal(model.classes_[proba.argmax(axis=1)], model.predict(X))


def test_the_loss_is_the_mean_with_a_ridge_by_the_number_of_samples():
    X, y = CANCER
    model = AMClassifier(5, alpha=3.0, max_iter=4, random_state=0).fit(X / X.max(axis=0), y)
    proba = model.predict_proba(X / X.max(axis=0))
    loss = -np.log(proba[np.arange(len(y)), y]).mean()
    ridge = 3 / 2 / len(y) * sum(np.sum(W**2) for W in model.coefs_)
    assert len(model.loss_curve_) == model.n_iter_ == 4
    assert model.best_loss_ == min(model.loss_curve_)
    # The ridge of W_1 is that of the whitened inputs' weights.
    assert loss < model.loss_
    assert model.loss_ == pytest.approx(loss + ridge, rel=0.5)


def test_copies_predict_the_same(case):
    model, X, y = case
    model.fit(X, y)
    expected = model.predict(X)
    buffer = io.BytesIO()
    joblib.dump(model, buffer)
    buffer.seek(0)
    for other in (pickle.loads(pickle.dumps(model)), joblib.load(buffer), clone(model).fit(X, y)):
        np.testing.assert_array_equal(other.predict(X), expected)
    assert model.solution_.problem.n_samples == 0


def test_skops(case):
    io = pytest.importorskip("skops.io")
    model, X, y = case
    data = io.dumps(model.fit(X, y))
    unknown = io.get_untrusted_types(data=data)
    assert all(name.startswith(("amcore.", "numpy.")) for name in unknown), unknown
    other = io.loads(data, trusted=unknown)
    np.testing.assert_array_equal(other.predict(X), model.predict(X))


def test_grid_search_in_processes():
    search = GridSearchCV(
        make_pipeline(StandardScaler(), AMClassifier(20, max_iter=30, random_state=0, n_jobs=1)),
        {"amclassifier__alpha": [0.1, 1.0]},
        cv=2,
        n_jobs=2,
    )
    search.fit(*IRIS)
    assert search.best_score_ > 0.8


def test_set_output_and_names_of_features():
    pandas = pytest.importorskip("pandas")
    X = pandas.DataFrame(IRIS[0], columns=["a", "b", "c", "d"])
    model = make_pipeline(StandardScaler(), AMClassifier(5, max_iter=2, random_state=0))
    model.set_output(transform="pandas").fit(X, IRIS[1])
    assert list(model[-1].feature_names_in_) == ["a", "b", "c", "d"]
    assert model.predict(X).shape == (150,)


def test_weights_are_routed():
    X, y = IRIS
    weight = np.where(y == 2, 0.0, 1.0)
    with sklearn.config_context(enable_metadata_routing=True):
        model = AMClassifier(10, max_iter=30, random_state=0).set_fit_request(sample_weight=True)
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        model = make_pipeline(scaler, model).fit(X, y, sample_weight=weight)
    assert set(model.predict(X)) == {0, 1}
    by_class = AMClassifier(10, max_iter=30, random_state=0, class_weight={2: 0.0})
    by_class = make_pipeline(StandardScaler(), by_class).fit(X, y)
    np.testing.assert_array_equal(by_class.predict(X), model.predict(X))


def test_sparse_samples(case):
    model, X, y = case
    expected = model.fit(X, y).predict(X)
    np.testing.assert_array_equal(model.fit(csr_array(X), y).predict(csr_array(X)), expected)


def test_partial_fit_goes_on(case):
    model, X, y = case
    labels = {"classes": np.unique(y)} if isinstance(model, AMClassifier) else {}
    X = StandardScaler().fit_transform(X)
    for epoch in range(10):
        model.partial_fit(X, y, **labels)
        assert len(model.loss_curve_) == epoch + 1
    assert model.loss_curve_[-1] < 0.8 * model.loss_curve_[0]
    assert model.score(X, y) > 0.4
    assert not hasattr(type(model)(scheme="three-split"), "partial_fit")


def test_warm_start_goes_on_and_fit_begins_anew():
    X, y = StandardScaler().fit_transform(CANCER[0]), CANCER[1]
    model = AMClassifier(10, max_iter=5, random_state=0, warm_start=True).fit(X, y)
    first = model.loss_
    assert model.fit(X, y).loss_ < first
    assert model.set_params(warm_start=False).fit(X, y).loss_ == first


def test_early_stopping_keeps_the_best_weights():
    X, y = StandardScaler().fit_transform(CANCER[0]), CANCER[1]
    model = AMClassifier(
        10, early_stopping=True, n_iter_no_change=3, max_iter=100, random_state=0
    ).fit(X, y)
    assert model.n_iter_ < 100
    assert model.best_validation_score_ == max(model.validation_scores_)
    assert model.best_loss_ is None
    best = int(np.argmax(model.validation_scores_))
    if best < model.n_iter_ - 1:
        assert not np.array_equal(model.coefs_[0].T, model.solution_.weights[0][0])


@pytest.mark.parametrize("scheme", ["three-split", "two-split", "mdlam", amcore.ThreeSplitBCD()])
def test_other_schemes(scheme):
    X, y = StandardScaler().fit_transform(IRIS[0]), IRIS[1]
    model = AMClassifier(20, scheme=scheme, max_iter=50, random_state=0).fit(X, y)
    assert model.score(X, y) > 0.7
    with pytest.raises(ValueError, match=r"^sample_weight: "):
        model.fit(X, y, sample_weight=np.ones(len(y)))
    with pytest.raises(NotFittedError):
        model.predict(X)


def test_certificate():
    model = AMClassifier(10, max_iter=20, random_state=0).fit(*IRIS)
    assert model.certificate_.to_dict() == amcore.certify(model.solution_.trace).to_dict()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"alpha": -1}, "alpha"),
        ({"max_iter": 0}, "max_iter"),
        ({"tol": -1.0}, "tol"),
        ({"batch_size": 0}, "batch_size"),
        ({"scheme": "sgd"}, "scheme"),
        ({"scheme": 3}, "scheme"),
        ({"scheme_params": {"momentum": 1}}, "scheme_params"),
        ({"validation_fraction": 1.0}, "validation_fraction"),
        ({"n_iter_no_change": 0}, "n_iter_no_change"),
        ({"activation": "swish"}, "activation"),
        ({"hidden_layer_sizes": (5, 0)}, "widths"),
    ],
)
def test_wrong_parameters_are_named(options, told):
    model = AMClassifier(**options)
    with pytest.raises((TypeError, ValueError), match=rf"^{told}"):
        model.fit(*IRIS)
    assert not hasattr(model, "coefs_")
