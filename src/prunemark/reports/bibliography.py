"""References to cite: the study's paper, the papers and code of the methods that a study uses, and this software."""

from collections.abc import Iterable

from prunemark.methods import METHODS
from prunemark.reports.families import family_of
from prunemark.version import __version__

STUDY = """@inproceedings{frankle2021pruning,
  title         = {Pruning Neural Networks at Initialization: Why Are We Missing the Mark?},
  author        = {Frankle, Jonathan and Dziugaite, Gintare Karolina and Roy, Daniel M. and Carbin, Michael},
  booktitle     = {International Conference on Learning Representations},
  year          = {2021},
  eprint        = {2009.08576},
  archivePrefix = {arXiv}
}"""

SOURCES: dict[str, str] = {
    "Frankle et al. 2021": STUDY,
    "Han et al. 2015": """@inproceedings{han2015learning,
  title         = {Learning both Weights and Connections for Efficient Neural Networks},
  author        = {Han, Song and Pool, Jeff and Tran, John and Dally, William J.},
  booktitle     = {Advances in Neural Information Processing Systems},
  year          = {2015},
  eprint        = {1506.02626},
  archivePrefix = {arXiv}
}""",
    "Lee et al. 2019": """@inproceedings{lee2019snip,
  title         = {{SNIP}: Single-shot Network Pruning based on Connection Sensitivity},
  author        = {Lee, Namhoon and Ajanthan, Thalaiyasingam and Torr, Philip H. S.},
  booktitle     = {International Conference on Learning Representations},
  year          = {2019},
  eprint        = {1810.02340},
  archivePrefix = {arXiv}
}""",
    "Wang et al. 2020": """@inproceedings{wang2020picking,
  title         = {Picking Winning Tickets Before Training by Preserving Gradient Flow},
  author        = {Wang, Chaoqi and Zhang, Guodong and Grosse, Roger},
  booktitle     = {International Conference on Learning Representations},
  year          = {2020},
  eprint        = {2002.07376},
  archivePrefix = {arXiv}
}""",
    "Tanaka et al. 2020": """@inproceedings{tanaka2020pruning,
  title         = {Pruning neural networks without any data by iteratively conserving synaptic flow},
  author        = {Tanaka, Hidenori and Kunin, Daniel and Yamins, Daniel L. K. and Ganguli, Surya},
  booktitle     = {Advances in Neural Information Processing Systems},
  year          = {2020},
  eprint        = {2006.05467},
  archivePrefix = {arXiv}
}""",
    "de Jorge et al. 2021": """@inproceedings{dejorge2021progressive,
  title         = {Progressive Skeletonization: Trimming more fat from a network at initialization},
  author        = {de Jorge, Pau and Sanyal, Amartya and Behl, Harkirat S. and Torr, Philip H. S. and
                   Rogez, Gr{\\'e}gory and Dokania, Puneet K.},
  booktitle     = {International Conference on Learning Representations},
  year          = {2021},
  eprint        = {2006.09081},
  archivePrefix = {arXiv}
}""",
    "Alizadeh et al. 2022": """@inproceedings{alizadeh2022prospect,
  title         = {Prospect Pruning: Finding Trainable Weights at Initialization using Meta-Gradients},
  author        = {Alizadeh, Milad and Tailor, Shyam A. and Zintgraf, Luisa M. and van Amersfoort, Joost and
                   Farquhar, Sebastian and Lane, Nicholas Donald and Gal, Yarin},
  booktitle     = {International Conference on Learning Representations},
  year          = {2022},
  eprint        = {2202.08132},
  archivePrefix = {arXiv}
}""",
    "Patil & Dovrolis 2021": """@inproceedings{patil2021phew,
  title         = {{PHEW}: Constructing Sparse Networks that Learn Fast and Generalize Well without Training Data},
  author        = {Patil, Shreyas Malakarjun and Dovrolis, Constantine},
  booktitle     = {International Conference on Machine Learning},
  year          = {2021},
  eprint        = {2010.11354},
  archivePrefix = {arXiv}
}""",
    "Wang et al. 2023": """@inproceedings{wang2023ntksap,
  title         = {{NTK-SAP}: Improving neural network pruning by aligning training dynamics},
  author        = {Wang, Yite and Li, Dawei and Sun, Ruoyu},
  booktitle     = {International Conference on Learning Representations},
  year          = {2023},
  eprint        = {2304.02840},
  archivePrefix = {arXiv}
}""",
}
"""BibTeX by what METHODS calls a source; code has none here, see `_code`."""
BASELINE = "baseline"
"""The source of what needs no citation."""


def software() -> str:
    """This software, as CITATION.cff has it."""
    return f"""@software{{prunemark,
  title   = {{prunemark: does a way of pruning a neural network early in training hit the mark?}},
  author  = {{{{The prunemark authors}}}},
  version = {{{__version__}}},
  license = {{MIT}}
}}"""


def citations(methods: Iterable[str]) -> list[str]:
    """BibTeX entries, each once: the study's paper, the methods' sources in their order, this software.

    A named setting, such as "snip:official", cites its method's paper too. A function of the user's has none.

    Args:
        methods: names in METHODS; others are left out.
    """
    entries = [STUDY]
    for name in methods:
        for known in (family_of(name), name):
            if known in METHODS and METHODS[known].source not in ("", BASELINE):
                source = METHODS[known].source
                entries.append(SOURCES.get(source) or _code(source))
    return [*dict.fromkeys(entries), software()]


def _code(repository: str) -> str:
    """A repository on GitHub, "owner/name"."""
    key = repository.replace("/", "-").lower()
    return f"""@misc{{{key},
  title        = {{{repository}}},
  howpublished = {{Code on GitHub, \\url{{https://github.com/{repository}}}}}
}}"""
