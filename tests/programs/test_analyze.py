"""What `cnnjax analyze` writes of a run, and of a file of weights with pictures."""

import json
import re

import jax
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from scipy.special import softmax

import cnnjax
from cnnjax import weights
from cnnjax.analysis import attack_curves, confusion, reliability
from cnnjax.config import ConfigError
from cnnjax.programs import _analysis, _look, analyze
from cnnjax.runs.pages import Picture
from cnnjax.train.examples import examine
from tests.browsing import seen
from tests.models.variants import filled

CHEAP = ("confusion", "calibration", "fields", "filters", "activations", "units", "attribution", "attacks", "roofline")
CHEAP += ("effective", "equivariance", "turning")
MOVED = ("roofline", "effective", "equivariance", "turning")  # of a net with convolutions these are proofs
INNER = ("gradients", "similarity", "probes", "landscape", "pruning", "corruptions")


@pytest.fixture(scope="module")
def looked(digits_run, tmp_path_factory):
    """The folder of an analysis of 120 test digits by a net without convolutions."""
    out = tmp_path_factory.mktemp("looked") / "a"
    analyze.main([f"--workdir={digits_run.workdir}", "--examples=120", f"--out={out}"])
    return out


@pytest.fixture(scope="module")
def of_weights(tmp_path_factory):
    """The folder of an analysis of a LeNet that has learned nothing, of eight pictures."""
    folder = tmp_path_factory.mktemp("weights")
    net = cnnjax.models.lenet5(outputs=10)
    weights.save(net, filled(net, (28, 28, 1)), folder / "net.safetensors")
    (folder / "photos").mkdir()
    for number, image in enumerate(cnnjax.data.digits().test.arrays["image"][:8]):
        Image.fromarray(image[..., 0]).save(folder / "photos" / f"{number}.png")
    reads = ("--outputs=10", "--size=28", "--resize=28", "--mean=0.3", "--std=0.3")
    net = ("--model=lenet5", f"--weights={folder / 'net.safetensors'}", *reads)
    what = ",".join(part for part in CHEAP if part not in MOVED)
    analyze.main([*net, f"--images={folder / 'photos'}", f"--what={what}", f"--out={folder / 'a'}"])
    return folder / "a"


def told(folder):
    return json.loads((folder / "analysis.json").read_text())


@pytest.mark.proofs
def test_the_numbers_are_those_of_the_functions(looked, digits_run):
    found, rows = told(looked), examine(digits_run, most=120, distributions=True).rows
    assert found["examples"] == 120
    counts = confusion(rows["truth"], rows["prediction"], classes=10)
    np.testing.assert_array_equal(found["confusion"]["counts"], counts)
    assert found["calibration"]["before"]["error"] == pytest.approx(
        reliability(rows["probabilities"], rows["truth"]).error
    )
    assert set(found["calibration"]) == {"before"}, (
        "nothing was held out: a temperature would be fitted on the test set"
    )
    look = _look.of_run(digits_run, "test", 120)
    asked = np.arange(100) * 120 // 100
    curves = attack_curves(
        jax.random.key(0), look.f, look.images[asked], look.labels[asked], np.array([0.0, 0.1]), steps=10
    )
    for name, share in curves.accuracy.items():
        np.testing.assert_allclose([found["attacks"]["accuracy"][name][k] for k in (0, 5)], share)
    assert curves.accuracy["fgsm"][0] == pytest.approx(np.mean((rows["truth"] == rows["prediction"])[asked]))


def test_an_analysis_asks_the_net_what_the_run_asks_it(digits_run):
    look = _look.of_run(digits_run, "test", 40)
    logits = np.asarray(jax.jit(look.f)(look.images))
    np.testing.assert_allclose(softmax(logits, 1), look.probabilities, atol=1e-5)
    np.testing.assert_allclose(jax.jit(digits_run.net.apply)(digits_run.variables, look.seen), logits, atol=1e-4)
    np.testing.assert_allclose(look.shown, look.images, atol=1e-5)
    losses = -np.log(look.probabilities[np.arange(40), look.labels])
    assert losses[look.order[-1]] == pytest.approx(losses.max())
    assert list(look.both_ends(2)) == [*look.order[::-1][:2], *look.order[:2]]
    assert sorted(look.both_ends(30)) == list(range(40))
    mean, std = look.scale
    np.testing.assert_allclose((look.shown - mean) / std, look.seen, atol=1e-4)


def test_parts_that_a_net_does_not_have_are_left_out_with_the_reason_and_dear_ones_are_named(looked):
    found, page = told(looked), (looked / "report.html").read_text()
    assert "no convolution" in found["left_out"]["filters"]
    assert "grad_cam is left out: " in page
    assert set(found) >= set(CHEAP) - set(found["left_out"])
    for name in ("faithfulness", "sanity", "occlusion"):
        assert f"{name} is dear and was not asked for (--what={name})" in page
        assert name not in found


def test_every_picture_is_a_file_too_and_every_link_leads_to_one(looked, of_weights):
    for folder in (looked, of_weights):
        page = (folder / "report.html").read_text()
        figures = sorted((folder / "figures").iterdir())
        assert len(figures) == page.count("<figure")
        for figure in figures:
            with Image.open(figure) as image:
                assert np.ptp(np.asarray(image.convert("L"))) > 100
        assert all((folder / link).exists() for link in re.findall(r"<a href='([^#'][^']*)'", page))
        assert "<script" not in page
        assert len(page) < 4_000_000


def test_the_page_of_the_run_leads_to_an_analysis_that_is_made_later(digits_run, tmp_path):
    for name in ("config.json", "facts.json", "checkpoints"):
        (tmp_path / name).symlink_to(digits_run.workdir / name)
    page = tmp_path / "report.html"
    page.write_text("<p><a href='config.json'>config.json</a></p>\n")
    for _ in range(2):
        analyze.main([f"--workdir={tmp_path}", "--examples=20", "--what=confusion"])
        assert re.findall(r"<a href='([^']*)'", page.read_text()) == ["config.json", "analysis/report.html"]
    assert told(tmp_path / "analysis")["index"] == [18 * k for k in range(20)]
    (tmp_path / "elsewhere").mkdir()
    foreign = tmp_path / "elsewhere" / "report.html"
    foreign.write_text("<p><a href='mine'>mine</a></p>")
    analyze.main([f"--workdir={tmp_path}", "--examples=20", "--what=confusion", f"--out={foreign.parent / 'looked'}"])
    assert foreign.read_text() == "<p><a href='mine'>mine</a></p>", "a page that is no run's"


def test_a_part_that_fails_costs_the_others_nothing_and_is_told_at_the_end(digits_run, tmp_path):
    def fails(look):
        raise MemoryError("no room for 3 GiB\nand more")

    def undrawable(look):
        return [Picture(figure_of(r"$\bad{$"), "names are no formulas")], {"drawn": 1}

    look, said = _look.of_run(digits_run, "test", 20), []
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "gabors-1.png").touch()
    with pytest.raises(MemoryError):
        _analysis.write(look, {"fails": fails, "undrawable": undrawable}, tmp_path, "a net", said.append)
    found = told(tmp_path)
    assert found["left_out"] == {"fails": "MemoryError: no room for 3 GiB"}
    assert found["undrawable"] == {"drawn": 1}
    assert "names are no formulas" in (tmp_path / "report.html").read_text()
    assert said[0] == "fails: failed, MemoryError: no room for 3 GiB"
    assert said[-1].endswith("keeps pictures of earlier parts, which stand no more in report.html: gabors")


def figure_of(title):
    """A figure with a title."""
    figure = Figure()
    figure.subplots().set_title(title)
    return figure


def test_a_net_of_a_file_is_looked_into_by_pictures_without_labels(of_weights):
    found = told(of_weights)
    assert {"confusion", "calibration"} == set(found["left_out"])
    assert "nothing is known of what the pictures are" in found["left_out"]["confusion"]
    assert found["attacks"]["accuracy"]["fgsm"][0] == 1, "of what was predicted before"
    assert len(list((of_weights / "figures").glob("attacks-*.png"))) >= 3, "the curve, and two that are deceived"
    assert found["fields"]["s4"]["size"] == [16, 16]
    assert len(found["filters"]["c1"]["share"]) == 6
    assert list(found["units"]) == ["c1", "c3", "s4"]
    shown = seen(of_weights / "report.html", width=390)
    assert not shown["errors"]
    assert all(complete and wide > 100 for complete, wide in shown["images"])
    assert shown["wide"] <= 0


def test_parts_are_the_functions_that_there_are(digits_run):
    assert tuple(_analysis.parts_of(())) == CHEAP
    assert tuple(_analysis.parts_of(("all",)))[: len(CHEAP)] == CHEAP
    rest = {"faithfulness", "sanity", "occlusion", "visualization", "electrophysiology", "gabors", *INNER}
    assert set(_analysis.parts_of(("all",))) - set(CHEAP) >= rest
    assert list(_analysis.parts_of(("attacks", "confusion"))) == ["confusion", "attacks"]


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--what=atacks"], r"--what is 'atacks'.*attacks"),
        (["--split=tests"], r"split is 'tests'"),
        (["--images=a"], "--images names the pictures for a net with a file of --weights; a run brings its own"),
    ],
)
def test_what_is_not_known_is_refused_before_anything_is_loaded(digits_run, flags, reason):
    with pytest.raises(ConfigError, match=reason):
        analyze.main([f"--workdir={digits_run.workdir}", *flags])


def test_a_net_of_a_file_needs_pictures_and_a_folder():
    with pytest.raises(ConfigError, match="--images names the pictures"):
        analyze.main(["--model=lenet5", "--weights=a.npz"])
    with pytest.raises(ConfigError, match="--out is missing; give the folder to write to, --out=looked"):
        analyze.main(["--model=lenet5", "--weights=a.npz", "--images=a"])


@pytest.mark.proofs
def test_dear_parts_are_drawn_where_they_are_asked_for(of_weights, tmp_path):
    folder = of_weights.parent
    reads = ("--outputs=10", "--size=28", "--resize=28", "--mean=0.3", "--std=0.3", f"--images={folder / 'photos'}")
    net = ("--model=lenet5", f"--weights={folder / 'net.safetensors'}", "--what=faithfulness,sanity,occlusion")
    analyze.main([*net, *reads, f"--out={tmp_path / 'a'}"])
    found = told(tmp_path / "a")
    assert not found["left_out"]
    assert set(found["sanity"]) == {"saliency", "integrated_gradients", "grad_cam"}
    assert "guided_backprop is left out: none of relu, relu6" in (tmp_path / "a" / "report.html").read_text()
    assert len(list((tmp_path / "a" / "figures").iterdir())) == 3


@pytest.mark.proofs
def test_units_are_recorded_from_moved_and_their_filters_fitted_where_it_is_asked_for(of_weights, tmp_path):
    folder = of_weights.parent
    reads = ("--outputs=10", "--size=28", "--resize=28", "--mean=0.3", "--std=0.3", f"--images={folder / 'photos'}")
    what = ",".join((*MOVED, "visualization", "electrophysiology", "gabors"))
    net = ("--model=lenet5", f"--weights={folder / 'net.safetensors'}", f"--what={what}")
    analyze.main([*net, *reads, f"--out={tmp_path / 'a'}"])
    found = told(tmp_path / "a")
    assert not found["left_out"]
    assert set(found) >= set(MOVED)
    assert list(found["visualization"]) == ["c3", "s4", "classes"]
    for each in found["visualization"].values():
        assert np.mean(np.array(each["made"]) > np.array(each["data"])) >= 0.75
    assert list(found["electrophysiology"]) == ["c1", "c3", "s4"]
    assert found["gabors"]["path"] == "c1"
    assert len(found["gabors"]["null"]) == 24


@pytest.mark.proofs
def test_what_is_inside_a_net_is_drawn_where_it_is_asked_for(digits_run, tmp_path):
    out = tmp_path / "a"
    analyze.main([f"--workdir={digits_run.workdir}", "--examples=60", f"--what={','.join(INNER)}", f"--out={out}"])
    found = told(out)
    assert set(found["left_out"]) <= {"similarity", "probes"}, "a net of dense layers has no maps"
    assert len(found["gradients"]["norms"]) == 60
    assert found["pruning"]["weights"]["all"][0] == pytest.approx(found["pruning"]["filters"]["all"][0])
    assert found["landscape"]["eigenvalues"][0] > 0
    assert ("way" in found["landscape"]) == (len(list((digits_run.workdir / "checkpoints").glob("[0-9]*"))) > 2)
