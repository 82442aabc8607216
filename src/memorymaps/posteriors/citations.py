"""BibTeX entries of the methods listed in a map's provenance."""

from __future__ import annotations

from collections.abc import Iterable

_ENTRIES = {
    "cook1977detection": """@article{cook1977detection,
  title   = {Detection of Influential Observation in Linear Regression},
  author  = {Cook, R. Dennis},
  journal = {Technometrics},
  volume  = {19},
  number  = {1},
  pages   = {15--18},
  year    = {1977}
}""",
    "cook1980characterizations": """@article{cook1980characterizations,
  title   = {Characterizations of an Empirical Influence Function for Detecting Influential Cases in Regression},
  author  = {Cook, R. Dennis and Weisberg, Sanford},
  journal = {Technometrics},
  volume  = {22},
  number  = {4},
  pages   = {495--508},
  year    = {1980}
}""",
    "nickl2023memory": """@inproceedings{nickl2023memory,
  title     = {The Memory-Perturbation Equation: Understanding Model's Sensitivity to Data},
  author    = {Nickl, Peter and Xu, Lu and Tailor, Dharmesh and M{\\"o}llenhoff, Thomas and Khan, Mohammad Emtiyaz},
  booktitle = {Advances in Neural Information Processing Systems},
  year      = {2023}
}""",
    "tailor2023maps": """@misc{tailor2023maps,
  title  = {Memory Maps to Understand Models},
  author = {Tailor, Dharmesh and Chang, Paul and Swaroop, Siddharth and Nalisnick, Eric and Solin, Arno
            and Khan, Mohammad Emtiyaz},
  year   = {2023}
}""",
    "vehtari2024pareto": """@article{vehtari2024pareto,
  title   = {Pareto Smoothed Importance Sampling},
  author  = {Vehtari, Aki and Simpson, Daniel and Gelman, Andrew and Yao, Yuling and Gabry, Jonah},
  journal = {Journal of Machine Learning Research},
  volume  = {25},
  number  = {72},
  pages   = {1--58},
  year    = {2024}
}""",
    "chen2010shrinkage": """@article{chen2010shrinkage,
  title   = {Shrinkage Algorithms for {MMSE} Covariance Estimation},
  author  = {Chen, Yilun and Wiesel, Ami and Eldar, Yonina C. and Hero, Alfred O.},
  journal = {IEEE Transactions on Signal Processing},
  volume  = {58},
  number  = {10},
  pages   = {5016--5029},
  year    = {2010}
}""",
    "smyth2004linear": """@article{smyth2004linear,
  title   = {Linear Models and Empirical {B}ayes Methods for Assessing Differential Expression in Microarray
             Experiments},
  author  = {Smyth, Gordon K.},
  journal = {Statistical Applications in Genetics and Molecular Biology},
  volume  = {3},
  number  = {1},
  year    = {2004}
}""",
    "diaconis1979conjugate": """@article{diaconis1979conjugate,
  title   = {Conjugate Priors for Exponential Families},
  author  = {Diaconis, Persi and Ylvisaker, Donald},
  journal = {The Annals of Statistics},
  volume  = {7},
  number  = {2},
  pages   = {269--281},
  year    = {1979}
}""",
    "cain1984approximate": """@article{cain1984approximate,
  title   = {Approximate Case Influence for the Proportional Hazards Regression Model with Censored Data},
  author  = {Cain, Kevin C. and Lange, Nicholas T.},
  journal = {Biometrics},
  volume  = {40},
  number  = {2},
  pages   = {493--499},
  year    = {1984}
}""",
    "rasmussen2006gaussian": """@book{rasmussen2006gaussian,
  title     = {Gaussian Processes for Machine Learning},
  author    = {Rasmussen, Carl Edward and Williams, Christopher K. I.},
  publisher = {MIT Press},
  year      = {2006}
}""",
}


def bibtex(keys: Iterable[str]) -> str:
    """BibTeX entries of these methods.

    Raises
    ------
    KeyError
        A key without an entry: add the reference of a posterior's method to this module.

    Examples
    --------
    >>> print(bibtex(["cook1977detection"]).splitlines()[0])
    @article{cook1977detection,
    """
    return "\n\n".join(_ENTRIES[key] for key in keys)
