"""statsmodels' models, by formulas on tables: least squares, GLMs, discrete choice, ordered classes, survival."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import references
import statsmodels.api as sm
import statsmodels.formula.api as smf
import tables
from statsmodels.miscmodels.ordinal_model import OrderedModel

from ordinary.use import Fitted, Use

FAMILY, LINK = sm.families, sm.families.links
LONG = {"maxiter": 1000}


def _use(name: str, results: Callable, **options) -> Use:
    def fit() -> Fitted:
        found = results()
        return Fitted((found,), lambda m, rows: references.results_change(found, rows, **options))

    return Use(f"statsmodels {name}", "statsmodels", fit, "same model of the other rows")


def _frame(name: str, every: int = 1):
    return lambda: tables.table(name, every).rename(columns=lambda c: c.replace(".", "_"))


PRESTIGE, SAVINGS = _frame("prestige.csv"), _frame("life_cycle_savings.csv")
DUNCAN, DAVIS, SWISS = _frame("duncan.csv"), _frame("davis.csv"), _frame("swiss.csv")
DIAMONDS, BIKES = _frame("diamonds.parquet", 150), _frame("bike_sharing_hour.parquet", 40)
BIRTHS, DIRECTORS, ESOPH = _frame("birthwt.csv"), _frame("ornstein.csv"), _frame("esoph.csv")
NUCLEAR, VETERAN = _frame("nuclear.csv"), _frame("veteran.csv")

LINEAR = {
    "prestige": ("prestige ~ education + np.log(income) + women", PRESTIGE),
    "prestige by type": ("prestige ~ education * C(type)", lambda: PRESTIGE().dropna()),
    "savings": ("sr ~ pop15 + pop75 + dpi + ddpi", SAVINGS),
    "duncan": ("prestige ~ income + education + C(type)", DUNCAN),
    "davis": ("weight ~ repwt * C(sex)", lambda: DAVIS().dropna()),
    "swiss": ("Fertility ~ Agriculture + Examination + Education + Catholic", SWISS),
    "diamonds": ("np.log(price) ~ np.log(carat) + C(cut)", DIAMONDS),
    "bikes": ("cnt ~ temp + hum + windspeed + C(season) + C(weathersit)", BIKES),
    "nuclear": ("np.log(cost) ~ date + np.log(cap) + ne + ct", NUCLEAR),
}
BINARY = {
    "births": ("low ~ age + lwt + C(race) + smoke + ht + ui", BIRTHS),
    "births few": ("low ~ lwt + smoke", BIRTHS),
    "prestige": ("I(1 * (type == 'prof')) ~ income + women", PRESTIGE),
    "bikes": ("I(1 * (casual > 30)) ~ temp + hum + windspeed + workingday", BIKES),
}
COUNTED = {
    "directors": ("interlocks ~ np.log(assets) + C(nation)", DIRECTORS),
    "directors by sector": ("interlocks ~ np.log(assets) + C(nation) + C(sector)", DIRECTORS),
    "bikes": ("casual ~ temp + hum + windspeed + workingday", BIKES),
}
SKEWED = {
    "diamonds": ("price ~ np.log(carat) + C(cut)", DIAMONDS),
    "prestige": ("income ~ education + women + prestige", PRESTIGE),
    "nuclear": ("cost ~ date + np.log(cap) + ne", NUCLEAR),
}


def _weights(frame) -> np.ndarray:
    return 1 / (1 + np.arange(len(frame)) % 5)


def least_squares() -> Iterator[Use]:
    for name, (formula, data) in LINEAR.items():
        yield _use(f"OLS {name}", lambda f=formula, d=data: smf.ols(f, d()).fit())
        yield _use(f"GLM Gaussian {name}", lambda f=formula, d=data: smf.glm(f, d()).fit())
    for name in ("prestige", "bikes"):
        formula, data = LINEAR[name]
        yield _use(
            f"WLS {name}", lambda f=formula, d=data: smf.wls(f, d(), weights=1 / (1 + np.arange(len(d())) % 5)).fit()
        )


def binary() -> Iterator[Use]:
    for name, (formula, data) in BINARY.items():
        yield _use(f"Logit {name}", lambda f=formula, d=data: smf.logit(f, d()).fit(disp=0), disp=0)
        yield _use(f"Probit {name}", lambda f=formula, d=data: smf.probit(f, d()).fit(disp=0), disp=0)
        for link in (LINK.Logit(), LINK.CLogLog()):
            family = FAMILY.Binomial(link)
            yield _use(f"GLM Binomial {type(link).__name__} {name}",
                       lambda f=formula, d=data, k=family: smf.glm(f, d(), family=k).fit())  # fmt: skip


def counts() -> Iterator[Use]:
    for name, (formula, data) in COUNTED.items():
        yield _use(f"Poisson {name}", lambda f=formula, d=data: smf.poisson(f, d()).fit(disp=0), disp=0, **LONG)
        yield _use(f"NegativeBinomial {name}", lambda f=formula, d=data: smf.negativebinomial(f, d()).fit(disp=0),
                   disp=0, **LONG)  # fmt: skip
        for family in (FAMILY.Poisson(), FAMILY.NegativeBinomial(alpha=1.0)):
            yield _use(f"GLM {type(family).__name__} {name}",
                       lambda f=formula, d=data, k=family: smf.glm(f, d(), family=k).fit())  # fmt: skip
    yield _use("GLM Poisson exposure bikes", lambda: smf.glm(
        "casual ~ temp + hum", BIKES(), family=FAMILY.Poisson(), exposure=BIKES()["cnt"]).fit())  # fmt: skip
    yield _use("GLM Binomial counts esoph", lambda: smf.glm(
        "ncases + ncontrols ~ C(agegp) + C(alcgp)", ESOPH(), family=FAMILY.Binomial()).fit())  # fmt: skip


def skewed() -> Iterator[Use]:
    for name, (formula, data) in SKEWED.items():
        for family in (FAMILY.Gamma(LINK.Log()), FAMILY.InverseGaussian(LINK.Log()), FAMILY.Tweedie(LINK.Log(), 1.5)):
            yield _use(f"GLM {type(family).__name__} {name}",
                       lambda f=formula, d=data, k=family: smf.glm(f, d(), family=k).fit())  # fmt: skip


def _kinds():
    """Occupations of three kinds, incomes in thousands."""
    d = PRESTIGE().dropna()
    return d.assign(kind=d["type"].astype("category").cat.codes, income=d["income"] / 1000)


def several_classes() -> Iterator[Use]:
    for columns in ("education + income", "education + women"):
        yield _use(
            f"MNLogit {columns}", lambda c=columns: smf.mnlogit(f"kind ~ {c}", _kinds()).fit(disp=0), disp=0, **LONG
        )


def _ordered(columns: list[str], distr: str) -> Fitted:
    d = DUNCAN()
    level = np.digitize(d["prestige"], [25, 60])
    results = OrderedModel(level, d[columns] / 100.0, distr=distr).fit(method="bfgs", disp=0)

    def change(m, rows):
        def outputs(found, rows):
            params = np.asarray(found.params)
            cuts = found.model.transform_threshold_params(params)[1:-1]
            return cuts - (d[columns].to_numpy(float)[rows] / 100 @ params[: len(columns)])[:, None]

        after = []
        for i in rows:
            kept = np.arange(len(d)) != i
            fresh = OrderedModel(level[kept], d[columns].to_numpy(float)[kept] / 100, distr=distr)
            after.append(outputs(fresh.fit(method="bfgs", disp=0, maxiter=1000, gtol=1e-8), [i]))
        return outputs(results, rows), np.concatenate(after)

    return Fitted((results,), change)


def ordered() -> Iterator[Use]:
    for distr in ("logit", "probit"):
        for columns in (["income"], ["income", "education"]):
            yield Use(f"statsmodels OrderedModel {distr} {' '.join(columns)}", "statsmodels",
                      lambda c=columns, d=distr: _ordered(c, d), "same model of the other rows")  # fmt: skip


SOURCES = (least_squares, binary, counts, skewed, several_classes, ordered)
