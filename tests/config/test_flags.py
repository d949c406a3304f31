"""`--config…` flags: names first, then values, typed; what can't be meant is refused in a few lines."""

import pytest

from cnnjax import config as sections
from cnnjax.config import ROOMS, ConfigError, meant
from cnnjax.config._sections import PLAIN
from cnnjax.config._synonyms import MEANT
from cnnjax.config.signatures import entries, options_of, room_options

DIGITS = "configs/digits.py"

pytestmark = pytest.mark.usefixtures("at_home")


def load(*flags, path=DIGITS):
    path, overrides, rest = sections.split([f"--config={path}", *flags])
    assert not rest
    return sections.load(path, overrides)


def refused(*flags, path=DIGITS) -> str:
    with pytest.raises(ConfigError) as caught:
        load(*flags, path=path)
    assert len(str(caught.value).splitlines()) <= 3
    return str(caught.value)


def test_flags_are_taken_apart_from_the_programs_own():
    words = ["--config=a.py:b", "--workdir=x", "--config.p.q=1", "--config.r.s", "2"]
    words += ["--noconfig.t.u", "--config.v.w", "--dry_run"]
    assert sections.split(words) == (
        "a.py:b",
        ["--config.p.q=1", "--config.r.s=2", "--noconfig.t.u", "--config.v.w"],
        ["--workdir=x", "--dry_run"],
    )
    assert sections.split(["--config", "a.py"]) == ("a.py", [], [])
    assert sections.split(["--config.a.b", "-1"]) == ("", ["--config.a.b=-1"], [])


def test_a_value_is_read_by_the_type_of_its_option():
    config = load("--config.optimizer.lr=1", "--config.train.steps=1e3", "--noconfig.eval.test", "--config.seed=7")
    assert (config.optimizer.lr, type(config.optimizer.lr)) == (1.0, float)
    assert (config.train.steps, type(config.train.steps)) == (1000, int)
    assert config.eval.test is False
    assert config.seed == 7
    assert load("--config.report.quiet").report.quiet is True
    assert load("--config.report.quiet=no").report.quiet is False
    assert load("--config.report.wandb=a=b c").report.wandb == "a=b c"


@pytest.mark.parametrize("text", ["64,32", "(64, 32)", "[64,32]", " 64 , 32 "])
def test_a_tuple_is_written_with_or_without_brackets(text):
    assert load("--config.model.name=mlp", f"--config.model.hidden={text}").model.hidden == (64, 32)


def test_a_tuple_of_one_and_of_none():
    assert load("--config.model.name=mlp", "--config.model.hidden=64").model.hidden == (64,)
    assert load("--config.model.name=mlp", "--config.model.hidden=()").model.hidden == ()
    assert load("--config.optimizer.freeze=stage1").optimizer.freeze == ("stage1",)


def test_the_last_of_two_flags_wins():
    assert load("--config.optimizer.lr=1", "--config.optimizer.lr=2").optimizer.lr == 2.0


@pytest.mark.parametrize("turn", [1, -1])
def test_a_name_brings_its_own_defaults_in_either_order(turn):
    flags = ["--config.model.name=resnet18", "--config.model.width=32", "--config.model.stem=cifar"][::turn]
    config = load(*flags)
    assert (config.model.name, config.model.width, config.model.stem) == ("resnet18", 32, "cifar")
    assert "padding" not in config.model, "LeNet's options are gone"
    assert config.is_locked


def test_an_entrys_name_keeps_what_stands_beside_it():
    config = load("--config.optimizer.name=sgd", "--config.optimizer.clip=2")
    assert (config.optimizer.lr, config.optimizer.clip) == (0.1, 2.0)
    assert load("--config.schedule.name=linear").schedule.warmup_epochs == 1.0


def test_the_name_that_is_already_there_changes_nothing():
    assert load("--config.model.name=lenet5") == load()


@pytest.mark.parametrize("turn", [1, -1])
def test_names_of_a_pipeline_bring_and_drop_sections(turn):
    flags = ["--config.augment.train=flip,shift,normalize,flip#2", "--config.augment.flip#2.axis=height"][::turn]
    augment = load(*flags).augment
    assert augment.train == ("flip", "shift", "normalize", "flip#2")
    assert (augment.flip.axis, augment["flip#2"].axis) == ("width", "height")
    assert augment.shift.pixels == 3, "what stays keeps its values"
    assert set(load("--config.augment.train=normalize").augment) == {"train", "eval", "normalize"}


@pytest.mark.parametrize("name", ["--config.model.backbone.name=resnet18", "--config.model.backbone=resnet18"])
def test_an_entry_inside_an_entry_is_named_by_flag(name):
    model = load("--config.model.backbone.width=16", name, "--config.model.name=unet").model
    assert (model.name, model.backbone.name, model.backbone.width) == ("unet", "resnet18", 16)
    text = refused("--config.model.name=unet", name, "--config.model.backbone.wdth=16")
    assert text.startswith("model.backbone.wdth is not an option of resnet18; nearest: model.backbone.width")


def test_groups_by_flag_bring_their_sections():
    flags = ["--config.optimizer.adamw.lr=0.5", "--config.optimizer.groups=(('*/bias', 'adamw'),)"]
    optimizer = load("--config.optimizer.name=sgd", *flags).optimizer
    assert (optimizer.name, optimizer.adamw.name, optimizer.adamw.lr) == ("sgd", "adamw", 0.5)
    lion = load("--config.optimizer.name=sgd", *flags[1:], "--config.optimizer.adamw.name=lion").optimizer
    assert lion.adamw.name == "lion"
    assert "pairs (pattern, optimizer)" in refused("--config.optimizer.groups=(('a', 'adam', 'b'),)")
    assert "pairs (pattern, optimizer)" in refused("--config.optimizer.groups=a,b")


def test_factors_are_pairs_and_what_is_frozen_has_names():
    for wrong in ("head,0.1", "(('head',),)", "(('head','a'),)", "(('head',None),)"):
        assert refused(f"--config.optimizer.factors={wrong}").endswith("as in (('head', 0.1),)")
    assert load("--config.optimizer.factors=(('head',1),)").optimizer.factors == (("head", 1.0),)
    assert "optimizer.freeze is '(1,)'; it must be a tuple of words" in refused("--config.optimizer.freeze=(1,)")


def test_a_duration_by_flag_takes_back_the_other_units():
    train = load("--config.train.steps=10").train
    assert (train.steps, train.epochs, train.examples) == (10, 0.0, 0)
    schedule = load("--config.schedule.warmup_examples=500").schedule
    assert (schedule.warmup_examples, schedule.warmup_epochs) == (500, 0.0)
    text = refused("--config.train.steps=10", "--config.train.epochs=1")
    assert text == "train.steps and train.epochs are both given; give one"
    assert load("--config.train.steps=10", "--config.train.epochs=0").train.steps == 10


@pytest.mark.parametrize(
    ("flag", "text"),
    [
        ("--config.optimizer.lr=fast", "optimizer.lr is 'fast'; it must be a number"),
        ("--config.optimizer.lr=nan", "optimizer.lr is nan; it must be a finite number"),
        ("--config.optimizer.lr=inf", "optimizer.lr is inf; it must be a finite number"),
        ("--config.optimizer.lr=-0.1", "optimizer.lr is -0.1; it must be ≥ 0"),
        ("--config.optimizer.lr=", "optimizer.lr is ''; it must be a number"),
        ("--config.optimizer.lr", "optimizer.lr has no value; write --config.optimizer.lr=0.001"),
        ("--config.train.batch=0", "train.batch is 0; it must be ≥ 1"),
        ("--config.train.batch=64.5", "train.batch is '64.5'; it must be a whole number"),
        ("--config.train.steps=1e400", "train.steps is '1e400'; it must be a whole number"),
        ("--config.eval.test=maybe", "eval.test is 'maybe'; it must be true or false"),
        ("--noconfig.seed", "seed is 'false'; it must be a whole number"),
        ("--noconfig.seed=3", "'--noconfig.seed=3' has a value; write --config.seed=3 or --noconfig.seed"),
        ("--config.model.name", "model.name has no value; write --config.model.name=name"),
        ("--config.train.precision=bf16", "train.precision is 'bf16'; nearest: bfloat16"),
        (
            "--config.optimizer.learning_rate=1",
            "optimizer.learning_rate is not an option of adamw; that is optimizer.lr",
        ),
        ("--config.optimizer.lr=0,001", "optimizer.lr is '0,001'; it must be a number; decimals have a point: 0.001"),
        ("--config.augment.train=horizontal_flip", "augment.train has 'horizontal_flip'; nearest: flip"),
        ("--config.model.name=vit", "model.name is 'vit'; `cnnjax train --list=models` shows all"),
        ("--config.lr=0.1", "lr is not an option; that is optimizer.lr here"),
        ("--config.modle.name=mlp", "modle.name is not an option; nearest: model.name"),
        ("--config.model.backbone.name=mlp", "model.backbone.name is not an option"),
        ("--config.model=msp", "model.name is 'msp'; nearest: mlp"),
        ("--config.optimizer.wieght=1", "optimizer.wieght is not an option of adamw"),
        ("--config.augment.train=shift,crob", "augment.train has 'crob'; nearest: crop"),
        (
            "--config.augment.crop.padding=1",
            "augment.crop.padding is not an option: crop stands in neither augment.train",
        ),
        ("--config.augment.crob.padding=1", "augment.crob.padding is not an option"),
        ("--config.train=3", "train is a section; write --config.train.option=value, option being one of batch, "),
        ("--config.augment=flip", "augment is a section; write --config.augment.option=value, option being one of"),
        ("--config.seed=99999999999", "seed is 99999999999; it must be ≥ 0 and < 4294967296"),
        ("--config.model.width=99999999999999999999", "model.width is 99999999999999999999; it must fit into 64 bits"),
        ("--config.model.name=os:system", "model.name is 'os:system', which has not the signature of cnnjax.models"),
        ("--config.model.width.depth=1", "model.width.depth is not an option"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_words(flag, text):
    assert refused(flag).startswith(text)


def test_a_missing_file_is_refused_with_the_nearest():
    text = "--config=configs/digit.py: there is no file configs/digit.py; nearest: configs/digits.py"
    assert refused(path="configs/digit.py").startswith(text)
    assert "there is no file digits.py; nearest: digits" in refused(path="digits.py")
    assert "there is no file lost/zzz.py; those that come with cnnjax: bccd, cifar10, " in refused(path="lost/zzz.py")
    assert "Makefile is neither a .py file" in refused(path="Makefile")


def test_experiments_that_come_with_the_package_are_found_by_name_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load(path="digits").model.name == "lenet5"
    assert load("--config.optimizer.lr=0.5", path="digits:mlp").optimizer.lr == 0.5
    assert len(sections.beside("digits", "sweep")) == len(sections.beside("digits:mlp", "sweep")) == 12
    for way in (load, lambda path: sections.beside(path, "sweep")):
        with pytest.raises(ConfigError) as error:
            way(path="digist:mlp")
        text = "--config=digist:mlp: there is no experiment of that name and no such file; nearest: digits"
        assert str(error.value).startswith(text)
    assert "variant is 'mpl'; nearest: mlp" in refused(path="digits:mpl")
    missing = refused(path="")
    assert missing.startswith("--config is missing; give one of bccd, cifar10, ")
    assert missing.endswith("\nor a .py file with get_config(variant)")


def test_a_file_is_preferred_to_an_experiment_of_its_name_and_a_folder_is_none(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mnist").mkdir()
    assert load(path="mnist").data.name == "mnist"
    (tmp_path / "digits").write_text("notes")
    assert "digits is neither a .py file" in refused(path="digits")
    (tmp_path / "digits.py").write_text(
        "from cnnjax.config import load\ndef get_config():\n    return load('digits:mlp')\n"
    )
    (tmp_path / "digits").unlink()
    assert load(path="digits.py").model.name == "mlp"
    assert load(path="digits").model.name == "lenet5"


def test_an_unknown_variant_is_refused_with_the_nearest():
    assert refused(path="configs/digits.py:resnet18").startswith(
        "configs/digits.py: variant is 'resnet18'; nearest: resnet20"
    )
    assert load(path="configs/digits.py:mlp").model.name == "mlp"


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("def get_config(:", "can't be run: SyntaxError: invalid syntax (line 1)"),
        ("import nothing_of_that_name", "can't be run: ModuleNotFoundError: No module named"),
        ("x = 1", "has no function get_config(variant) that returns a config"),
        ("def get_config():\n    return 3", "get_config returned a int, not what config.experiment returns"),
        ("def get_config():\n    x = 1\n    return {}['a']", "get_config failed: KeyError: 'a' (line 3)"),
        ("from cnnjax.config import section\ndef get_config():\n    section('models', 'mlpp')", "model.name is 'mlpp'"),
    ],
)
def test_a_broken_config_file_is_told_by_its_line(tmp_path, source, text):
    file = tmp_path / "mine.py"
    file.write_text(source)
    message = refused(path=str(file))
    assert message.startswith(str(file))
    assert text in message


def test_a_file_without_variants_says_so(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("from configs.digits import get_config as other\ndef get_config():\n    return other('mlp')\n")
    assert load(path=str(file)).model.name == "mlp"
    assert "has no variants" in refused(path=f"{file}:big")


def test_the_config_of_another_run_is_a_config_too(tmp_path):
    file = tmp_path / "config.json"
    config = load("--config.optimizer.lr=0.5")
    file.write_text(f'{{"config": {sections.to_json(config)}, "commit": "abc"}}')
    assert load(path=str(file)) == config
    assert load("--config.optimizer.name=sgd", path=str(file)).optimizer.momentum == 0.9
    file.write_text("{")
    assert "is not JSON" in refused(path=str(file))
    file.write_text("[" * 100_000)
    assert "is not JSON: maximum recursion depth exceeded" in refused(path=str(file))
    with open(file, "wb") as sparse:
        sparse.truncate(2**36)
    assert refused(path=str(file)) == f"--config={file} has more than 4,194,304 letters; that is no run's config"
    for word in ('{"config": 3}', "[1]"):
        file.write_text(word)
        assert refused(path=str(file)) == f"--config={file} holds no config; give a run's config.json"
    file.write_text("{}")
    assert "data is missing from the config" in refused(path=str(file))


def test_an_augmentation_that_no_pipeline_names_is_to_be_named_first():
    assert refused("--config.augment.crop.padding=1").endswith(
        "\nname it too, --config.augment.train=crop,shift,normalize"
    )


def test_every_word_of_other_tools_leads_to_an_option_that_there_is():
    known = {"seed", *(f"{section}.name" for section in ROOMS.values())}
    known |= {f"{key}.{name}" for key in (*ROOMS.values(), *PLAIN) for name in room_options(key)}
    for room, section in ROOMS.items():
        known |= {f"{section}.{name}" for entry in entries(room).values() for name in options_of(entry)}
    assert {path for path in MEANT if path != "augment.train"} <= known
    words = [word for words in MEANT.values() for word in words]
    assert len(words) == len(set(words))
    assert [meant(word) for word in ("batch-size", "LR", "zebra")] == ["train.batch", "optimizer.lr", ""]


def test_a_file_of_ones_own_that_is_not_found_is_told_where_it_must_lie(tmp_path, monkeypatch):
    (tmp_path / "my_nets.py").write_text("")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        ConfigError, match=r"my_net.py must lie in this folder, or on PYTHONPATH; nearest here: my_nets"
    ):
        sections.section("models", "my_net:tiny")


def test_a_word_that_is_a_part_of_others_finds_them_and_a_long_list_begins_to_be_told():
    columns = ["optimizer.lr", "optimizer.decay", *(f"eval.iou_of_class_{k}" for k in range(20))]
    with pytest.raises(ConfigError) as caught:
        sections.one_of("lr", columns, path="--where")
    assert str(caught.value).startswith("--where is 'lr'; nearest: optimizer.lr; one of 22: eval.iou_of_class_0, eval.")
    assert str(caught.value).endswith(", …")


def test_weights_of_classes_are_refused_as_what_they_are():
    with pytest.raises(
        ConfigError,
        match=r"^task.weights is not an option of segmentation\ntask has: border, border_sigma, cells, dice",
    ):
        sections.load("shapes", ("--config.task.weights=balanced",))
    with pytest.raises(ConfigError, match=r"^task.weights holds -2.0; it must be ≥ 0"):
        sections.load("digits", ("--config.task.weights=(('3', -2.0),)",))
    with pytest.raises(ConfigError, match=r"allowed: balanced, none; or a tuple of pairs \(text, a number\), as in"):
        sections.load("digits", ("--config.task.weights=3=2",))
    assert (meant("seed"), meant("task.weights"), meant("weights")) == ("seed", "", "train.init")
