# %% [markdown]
# # Finding wrong labels
# Flip 5 % of the digits' labels, fit, and rank the examples by columns of the map.

# %%
import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

import memorymaps as mm

X, y = load_digits(return_X_y=True)
X = X / 16
rng = np.random.default_rng(0)
wrong = rng.choice(len(y), size=len(y) // 20, replace=False)
noisy = y.copy()
noisy[wrong] = (y[wrong] + rng.integers(1, 10, size=len(wrong))) % 10

# %%
model = LogisticRegression(C=1.0, max_iter=2000).fit(X, noisy)
m = mm.memory_map(model, X, noisy)

# %% [markdown]
# Precision at k: of the k highest-ranked examples, how many labels were flipped?

# %%
k = len(wrong)
found = {}
for column in ("loss", "loo_loss", "sensitivity", "leverage"):
    top = np.argsort(-m[column])[:k]
    found[column] = np.isin(top, wrong).mean()
    print(f"{column:12s} {found[column]:.0%} of the top {k} are flipped labels")
assert found["loo_loss"] > 0.8  # by chance it would be 5 %

# %% [markdown]
# Correct the labels with the largest leave-one-out losses and refit: the model agrees with more of the clean labels.

# %%
suspects = np.argsort(-m["loo_loss"])[:k]
corrected = noisy.copy()
corrected[suspects] = y[suspects]
refitted = LogisticRegression(C=1.0, max_iter=2000).fit(X, corrected)
before, after = (fitted.score(X, y) for fitted in (model, refitted))
print(f"agreement with the clean labels: {before:.2%} before, {after:.2%} after")
assert after > before
