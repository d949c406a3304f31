"""Whether a sentence about a film is for or against it: Kim's net on MR, by ten folds.

The files are Latin-1, a sentence a line: mkdir -p runs/mr runs/vectors; for k in neg pos; do iconv -f latin1 -t utf8
rt-polarity.$k > runs/mr/$k.txt; done; runs/vectors has words_128.safetensors and words.txt (for random: nothing).
python -m experiments.sweep --config=configs/mr.py:VARIANT --workdir=runs/mr_VARIANT --pack=turns
Must show: random at least 75.0 % over ten folds (Kim 2014: 76.1), and less than tuned. Every tenth sentence is a fold;
nothing is selected by it: two epochs, whatever they give; the words are those of all sentences, as Kim's.
On two cores of an AMD EPYC that were shared with many others, jax 0.12.0.1, commit 7cecc5c with this file, accuracy of
the fold, mean ± deviation over folds:

              folds   accuracy           processor seconds of all
  random      0 … 9   77.12 ± 1.47 %     124
  random      0, 1, 2 76.50 ± 2.00 %
  tuned       0, 1, 2 72.72 ± 0.55 %     43
  static      0, 1, 2 69.75 ± 0.41 %     30
  both        not yet run

These vectors (means of pieces) are four times as large as what is drawn, and two epochs do not get over that. With
all of them divided by four in the file (0.15 in deviation, as drawn), tuned is before random: 77.47 ± 1.14 % on the
same three folds, by 0.0, 0.7 and 2.2 points; three folds do not make that certain.
"""

from cnnjax.config import augmentation, experiment, one_of, section
from cnnjax.sweep.space import grid

VECTORS = "runs/vectors/words_128.safetensors"


def get_config(variant: str = "random"):
    """Vectors of words drawn by chance, or of a file: kept as they are, trained, or one table of each."""
    init = {"random": "", "static": VECTORS, "tuned": VECTORS, "both": VECTORS}[
        one_of(variant, ("random", "static", "tuned", "both"))
    ]
    return experiment(
        data=section("data", "texts", path="runs/mr", together=True, folds=10),
        model=section("models", "textcnn", tables=2 if variant == "both" else 1, scale=0.25 if init else 1.0),
        task=section("tasks", "classification"),
        augment=augmentation(train=(), eval=()),
        optimizer=section(
            "optimizers", "adamw", lr=3e-3, freeze={"static": ("words",), "both": ("fixed",)}.get(variant, ())
        ),
        schedule=section("schedules", "cosine"),
        train={"epochs": 2.0, "batch": 50, "init": init},
        eval={"epochs": 2.0},
    )


def sweep():
    """Ten folds: one program."""
    return grid({"data.fold": tuple(float(fold) for fold in range(10))})
