# %% [markdown]
# # Brownlee's stack loss: Cook's distance, verified by a refit

# %%
import os
import pathlib

import numpy as np
import statsmodels.api as sm

import memorymaps as mm
from memorymaps import measures

data = sm.datasets.stackloss.load_pandas()
result = sm.OLS(data.endog, sm.add_constant(data.exog)).fit()
m = mm.memory_map(result)
print(m.summary())

# %% [markdown]
# The most influential day by Cook's distance, and the fit without it.

# %%
distance = measures.cooks_distance(m)
worst = int(np.argmax(distance))
print(f"day {m['id'][worst]}: Cook's distance {distance[worst]:.3f}")
others = np.arange(len(m)) != worst
refit = sm.OLS(data.endog[others], sm.add_constant(data.exog)[others]).fit()
predicted = m["loo_prediction"][worst]
actual = refit.predict(sm.add_constant(data.exog).iloc[[worst]]).iloc[0]
print(f"left-out prediction: {predicted:.6f} from the map, {actual:.6f} from refitting")
assert np.isclose(predicted, actual)

# %%
out = pathlib.Path(os.environ.get("OUT", "out"))
out.mkdir(parents=True, exist_ok=True)
mm.MapDisplay.from_map(m).figure_.savefig(out / "stackloss.png")
print(f"wrote {out / 'stackloss.png'}")
