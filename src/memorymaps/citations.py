"""BibTeX of the methods that maps name in their provenance."""

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
        A key without an entry: a posterior names a method nobody has written down here.

    Examples
    --------
    >>> print(bibtex(["cook1977detection"]).splitlines()[0])
    @article{cook1977detection,
    """
    return "\n\n".join(_ENTRIES[key] for key in keys)
