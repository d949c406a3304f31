"""Makes of the Leeds sports poses' joints.mat what `points` reads: `python -m tests.data.leeds lsp_ext400 runs/lsp`."""

import csv
import sys
from pathlib import Path

from PIL import Image
from scipy.io import loadmat

JOINTS = (
    *("right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle"),
    *("right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist", "neck", "head_top"),
)
LINES = (
    *("right_ankle right_knee", "right_knee right_hip", "left_hip left_knee", "left_knee left_ankle"),
    *("right_wrist right_elbow", "right_elbow right_shoulder", "left_shoulder left_elbow", "left_elbow left_wrist"),
    *("right_shoulder right_hip", "left_shoulder left_hip", "neck head_top"),
)


def convert(root: Path, out: Path) -> None:
    """Writes points.csv and skeleton.txt beside a link to the images.

    Joints that are not marked stay empty, and so do those that are marked outside of their picture.
    """
    joints = loadmat(root / "joints.mat")["joints"]  # (14, 3, N): x, y, visible, counted from 1 as MATLAB does
    pictures = sorted((root / "images").iterdir())
    if joints.shape != (len(JOINTS), 3, len(pictures)):
        raise SystemExit(f"{root} has {len(pictures)} images; joints.mat is {joints.shape}")
    out.mkdir(parents=True, exist_ok=True)
    with open(out / "points.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", *(f"{name}_{axis}" for name in JOINTS for axis in "xy")])
        for picture, marks in zip(pictures, joints.transpose(2, 0, 1), strict=True):
            with Image.open(picture) as opened:
                width, height = opened.size
            known = [(x, y, seen and 1 <= x <= width and 1 <= y <= height) for x, y, seen in marks]
            places = [(f"{x - 1:.2f}", f"{y - 1:.2f}") if seen else ("", "") for x, y, seen in known]
            writer.writerow([f"images/{picture.name}", *(number for place in places for number in place)])
    (out / "skeleton.txt").write_text("\n".join(LINES) + "\n")
    (out / "images").symlink_to((root / "images").resolve())


if __name__ == "__main__":
    convert(*map(Path, sys.argv[1:3]))
