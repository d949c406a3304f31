"""The benchmark of augmentation measures the same pipelines on all sides."""

import json
import sys

import pytest

from cnnjax.config import ConfigError
from experiments.benchmarks import augment, augment_peer, timing

PEER = timing.Peer


def test_the_peers_do_what_is_measured_here():
    assert set(augment.OURS) == set(augment_peer.PIPELINES) == set(augment.GOALS)
    for name, steps in augment_peer.PIPELINES.items():
        here = [step for step in augment.OURS[name][0] if step not in augment.JITTER]
        assert here == [step for step in steps if step != "jitter"]
        assert ("jitter" in steps) == set(augment.JITTER).issubset(augment.OURS[name][0])


@pytest.mark.proofs
def test_one_measurement_gives_images_a_second():
    augment.process.read(augment.FLAGS, ["--seconds=0.05"])
    found = augment.ours(*augment.pipeline("flip@8"))
    assert found["rate"] > 100
    assert found["per_core"] > 100


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("--peer=nowhere/python", "--peer is nowhere/python, which is no program"),
        ("--pipelines=cifer", "--pipelines is 'cifer'; nearest: cifar"),
        ("--pipelines=flip@big", "'flip@big'; what follows the @ is a side in pixels"),
        ("--libraries=korni", "--libraries is 'korni'; nearest: kornia"),
        ("--seconds=0", "--seconds is '0'; it must be a number ≥ 0.01"),
        ("--rounds=0", "--rounds is '0'; it must be a whole number ≥ 1"),
    ],
)
def test_hostile_arguments_are_told(argument, words):
    with pytest.raises(ConfigError, match=words):
        augment.main([argument])


@pytest.mark.proofs
def test_a_peer_that_answers_is_measured_in_turns_and_one_that_cannot_is_told(tmp_path, monkeypatch, capsys):
    script = tmp_path / "peer.py"
    script.write_text(
        "import json, sys\n"
        "print(json.dumps({sys.argv[1]: '1.0'}), flush=True)\n"
        "for line in sys.stdin:\n"
        "    fine = sys.argv[1] == 'kornia'\n"
        "    answer = {'rate': 1e-3, 'per_core': 2e-3} if fine else {'problem': 'lacks ' + line.split()[0]}\n"
        "    print(json.dumps(answer), flush=True)\n"
    )
    monkeypatch.setattr(timing, "__file__", str(tmp_path / "timing.py"))
    monkeypatch.setattr(augment.timing, "Peer", lambda python, _, *words: PEER(python, "peer.py", *words))
    out = tmp_path / "found.json"
    augment.main(
        [
            f"--peer={sys.executable}", "--pipelines=flip@8", "--libraries=torchvision,kornia", "--seconds=0.05",
            "--rounds=2", "--noshare", f"--json={out}",
        ]
    )  # fmt: skip
    found = json.loads(out.read_text())
    assert found["peers"] == {"torchvision": "1.0", "kornia": "1.0"}
    assert found["rate"]["flip@8"]["torchvision"] == 0.0
    assert found["rate"]["flip@8"]["ratio"] > 1e5
    assert "flip@8, 2: torchvision cannot: lacks flip@8" in capsys.readouterr().out
