# %% [markdown]
# # How strong a prior? Leave-one-out against held-out data
# One fit for each strength; the map's leave-one-out loss needs no validation set.

# %%
import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split

import memorymaps as mm

X, y = load_digits(return_X_y=True)
X, X_test, y, y_test = train_test_split(X / 16, y, train_size=600, random_state=0)

# %%
strengths, rows = [0.01, 0.1, 1.0, 10.0, 100.0], []
for delta in strengths:
    model = LogisticRegression(C=1 / delta, max_iter=5000).fit(X, y)
    m = mm.memory_map(model, X, y)
    rows.append(
        (m["leverage"].sum(), m["loss"].mean(), m["loo_loss"].mean(), log_loss(y_test, model.predict_proba(X_test)))
    )
    print(
        "δ = {:6.2f}: {:6.1f} effective parameters; training loss {:.3f}, left out {:.3f}, held out {:.3f}".format(
            delta, *rows[-1]
        )
    )

# %% [markdown]
# The training loss is always lowest for the weakest prior; left-out and held-out losses have nearly the same minimum.

# %%
training, left_out, held_out = (np.argmin([row[column] for row in rows]) for column in (1, 2, 3))
print(f"best δ: {strengths[training]} by training loss, {strengths[left_out]} left out, {strengths[held_out]} held out")
assert abs(left_out - held_out) <= 1
assert training == 0
