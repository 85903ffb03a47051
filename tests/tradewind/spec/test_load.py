"""Files, folders of them, and shared defaults."""

import os
from pathlib import Path

import pytest

from tradewind.errors import TradewindError
from tradewind.spec import load, load_all, load_text

EXAMPLES = Path(__file__).parents[3] / "dags" / "pipelines"
SMALL = "version: 1\npipeline: {name}\nsources: {{rows: {{sample: {{name: breast_cancer}}}}}}\n"
TRAIN = "train: {estimator: sklearn.LogisticRegression, label: target}\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "a project"
    (root / "profiles").mkdir(parents=True)
    (root / "dags" / "pipelines" / "team").mkdir(parents=True)
    return root


def write(project: Path, name: str, text: str) -> Path:
    path = project / "dags" / "pipelines" / name
    path.write_text(text)
    return path


def problems(path: Path) -> list[tuple[str, str | None, int | None, str | None]]:
    with pytest.raises(TradewindError) as caught:
        load(path)
    return [(one.code, one.file, one.line, one.path) for one in caught.value.problems]


@pytest.mark.parametrize("name", ["flight_delays", "breast_cancer"])
def test_the_examples_are_right(name: str) -> None:
    [loaded] = load_all([EXAMPLES / f"{name}.yaml"])
    assert loaded.problems == ()
    assert loaded.text == (EXAMPLES / f"{name}.yaml").read_text()
    assert loaded.pipeline is not None
    assert loaded.pipeline == load(EXAMPLES / f"{name}.yaml")


def test_the_first_taste_is_short() -> None:
    assert len((EXAMPLES / "breast_cancer.yaml").read_text().splitlines()) <= 15


def test_a_name_used_twice_is_the_later_files_problem(project: Path) -> None:
    paths = [write(project, name, SMALL.format(name="same")) for name in ("b.yaml", "a.yaml", "c.yaml")]
    first, second, third = load_all(paths)
    assert first.path.name == "a.yaml"
    assert first.pipeline is not None
    assert first.problems == ()
    for later in (second, third):
        assert later.pipeline is None
        assert [(one.code, one.line) for one in later.problems] == [("TW105", 2)]
        assert "dags/pipelines/a.yaml:2:11" in later.problems[0].message


def test_a_wrong_file_keeps_its_name(project: Path) -> None:
    a = write(project, "a.yaml", SMALL.format(name="same") + "wrong: key\n")
    b = write(project, "b.yaml", SMALL.format(name="same"))
    assert [[one.code for one in loaded.problems] for loaded in load_all([a, b])] == [["TW110"], ["TW105"]]


def test_a_model_belongs_to_one_pipeline(project: Path) -> None:
    text = TRAIN + "promote: {model: shared}\n"
    paths = [write(project, f"{name}.yaml", SMALL.format(name=name) + text) for name in ("a", "b")]
    assert [[one.code for one in loaded.problems] for loaded in load_all(paths)] == [[], ["TW106"]]


def waiting(*assets: str) -> str:
    return SMALL.format(name="waits") + f"schedule: {{after: [{', '.join(assets)}]}}\n"


def test_a_pipeline_waits_for_what_another_one_makes(project: Path) -> None:
    made = write(project, "a.yaml", SMALL.format(name="made") + TRAIN + "promote: {model: m}\nscore: {}\n")
    tables = [f"tradewind://table/made/{name}" for name in ("rows", "features", "predictions")]
    right = write(project, "b.yaml", waiting(*tables, "tradewind://model/m"))
    assert [loaded.problems for loaded in load_all([made, right])] == [(), ()]


def test_what_a_pipeline_does_not_make_is_an_error(project: Path) -> None:
    made = write(project, "a.yaml", SMALL.format(name="made"))
    wrong = write(project, "b.yaml", waiting("tradewind://table/made/rows", "tradewind://table/made/row"))
    _, loaded = load_all([made, wrong])
    [problem] = loaded.problems
    assert (loaded.pipeline, problem.code, problem.severity) == (None, "TW149", "error")
    assert (problem.line, problem.column, problem.path) == (4, 49, "schedule.after[1]")
    assert (problem.suggestion, problem.expected) == ("tradewind://table/made/rows", "rows")


def test_nobody_waits_in_vain_for_a_pipeline_that_is_wrong_now(project: Path) -> None:
    made = write(project, "a.yaml", SMALL.format(name="made") + "wrong: key\n")
    assert load_all([made, write(project, "b.yaml", waiting("tradewind://table/made/other"))])[1].problems == ()


def test_what_no_pipeline_of_the_project_makes_is_a_warning(project: Path) -> None:
    made = write(project, "a.yaml", SMALL.format(name="made") + TRAIN + "promote: {model: model-m}\n")
    other = write(project, "b.yaml", waiting("tradewind://table/maed/rows", "tradewind://model/model-n"))
    assert load_all([other])[0].problems == ()  # alone, it cannot be told
    _, loaded = load_all([made, other])
    assert loaded.pipeline is not None
    assert [(one.code, one.severity, one.suggestion) for one in loaded.problems] == [
        ("TW149", "warning", "tradewind://table/made/rows"),
        ("TW149", "warning", "tradewind://model/model-m"),
    ]


def test_a_wrong_file_disturbs_no_other(project: Path) -> None:
    right = write(project, "a.yaml", SMALL.format(name="a"))
    wrong = write(project, "b.yaml", "version: [")
    gone = project / "dags" / "pipelines" / "c.yaml"
    binary = project / "dags" / "pipelines" / "d.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    huge = write(project, "e.yaml", SMALL.format(name="e") + "#" * 2_000_000)
    found = load_all([right, wrong, gone, binary, huge])
    assert [[one.code for one in loaded.problems] for loaded in found] == [
        [],
        ["TW101"],
        ["TW100"],
        ["TW100"],
        ["TW100"],
    ]


def test_defaults_fill_in_and_the_yaml_wins(project: Path) -> None:
    write(project, "defaults.yaml", "owner: all\ntags: [ml]\ndefaults: {retries: 5, timeout: 1h}\ntrain: {seed: 11}\n")
    write(project, "team/defaults.yaml", "owner: team\ndefaults: {timeout: 3h}\n")
    pipeline = load(write(project, "team/a.yaml", SMALL.format(name="a") + TRAIN + "defaults: {retries: 1}\n"))
    assert (pipeline.owner, pipeline.tags) == ("team", ("ml",))
    assert (pipeline.defaults.retries, pipeline.defaults.timeout.total_seconds()) == (1, 3 * 3600)
    assert pipeline.train is not None
    assert pipeline.train.seed == 11


def test_a_default_adds_no_step(project: Path) -> None:
    shared = (
        "train: {seed: 3}\ndeploy: {canary: [100]}\nmonitor: {}\nchecks: {other: []}\nsources: {other: {time: t}}\n"
    )
    write(project, "defaults.yaml", shared)
    pipeline = load(write(project, "a.yaml", SMALL.format(name="a")))
    assert pipeline.train is pipeline.deploy is pipeline.monitor is None
    assert list(pipeline.sources) == ["rows"]
    assert pipeline.checks == {}


def test_a_choice_drops_the_default_of_the_other(project: Path) -> None:
    write(project, "defaults.yaml", "schedule: {cron: '@daily', start: 2020-01-01}\ntrain: {function: a:b}\n")
    after = "schedule: {after: ['tradewind://model/other']}\n"
    pipeline = load(write(project, "a.yaml", SMALL.format(name="a") + TRAIN + after))
    assert pipeline.schedule is not None
    assert pipeline.schedule.cron is None
    assert pipeline.train is not None
    assert pipeline.train.function is None


def test_the_choice_of_a_tuner_and_of_a_rule_drops_the_default_of_the_other(project: Path) -> None:
    shared = (
        "tune:\n  hyperopt: {trials: 5}\n  optuna: {trials: 6, prune: {median: {}}, space: {eta: {log: [0.1, 1]}}}\n"
    )
    write(project, "defaults.yaml", shared)
    own = "tune: {optuna: {prune: {asha: {}}, space: {eta: {float: [0, 1]}}}}\n"
    train = "train: {estimator: xgboost.XGBClassifier, label: target}\n"
    pipeline = load(write(project, "a.yaml", SMALL.format(name="a") + train + own))
    assert pipeline.tune is not None
    search = pipeline.tune.search
    assert (pipeline.tune.tuner, search.trials) == ("optuna", 6)
    assert search.prune is not None
    assert search.prune.median is None
    assert type(search.space["eta"]).__name__ == "FloatRange"


def test_a_bad_default_is_shown_where_it_stands_and_only_to_those_who_use_it(project: Path) -> None:
    write(project, "team/defaults.yaml", "owner: us\ntrain:\n  seed: many\n")
    uses = write(project, "team/uses.yaml", SMALL.format(name="uses") + TRAIN)
    overrides = write(project, "team/overrides.yaml", SMALL.format(name="over") + TRAIN.replace("{", "{seed: 1, "))
    without = write(project, "team/without.yaml", SMALL.format(name="without"))
    elsewhere = write(project, "elsewhere.yaml", SMALL.format(name="elsewhere") + TRAIN)
    assert problems(uses) == [("TW112", "dags/pipelines/team/defaults.yaml", 3, "train.seed")]
    for path in (overrides, without, elsewhere):
        assert load(path).pipeline


def test_defaults_that_are_not_yaml(project: Path) -> None:
    write(project, "team/defaults.yaml", "owner: [\n")
    assert problems(write(project, "team/a.yaml", SMALL.format(name="a")))[0][:2] == (
        "TW101",
        "dags/pipelines/team/defaults.yaml",
    )
    assert load(write(project, "b.yaml", SMALL.format(name="b")))


def test_defaults_cannot_share_a_name_nor_unknown_keys(project: Path) -> None:
    write(project, "defaults.yaml", "pipeline: x\nownr: me\n")
    assert problems(write(project, "a.yaml", SMALL.format(name="a"))) == [
        ("TW110", "dags/pipelines/defaults.yaml", 1, "pipeline"),
        ("TW110", "dags/pipelines/defaults.yaml", 2, "ownr"),
    ]


def test_empty_defaults_say_nothing(project: Path) -> None:
    write(project, "defaults.yaml", "# nothing yet\n")
    assert load(write(project, "a.yaml", SMALL.format(name="a")))


def test_a_given_root_is_where_user_code_is_looked_for(project: Path, tmp_path: Path) -> None:
    text = SMALL.format(name="a") + "train: {function: model:train, label: target}\n"
    path = write(project, "a.yaml", text)
    assert [one[0] for one in problems(path)] == ["TW140"]
    (tmp_path / "include" / "models").mkdir(parents=True)
    (tmp_path / "include" / "models" / "model.py").write_text("from elsewhere import train\nraise SystemExit\n")
    assert load(path, root=tmp_path).train
    assert load_text(text).train  # without a root, user code is not looked at


def test_all_of_yaml_that_pipelines_need() -> None:
    pipeline = load_text(
        "version: 1\npipeline: a\n"
        "owner: yes\ndescription: |\n  two\n  lines\n"
        "sources:\n  one: &one {sample: {name: iris}, max_bad: 1e-3}\n  two: *one\n  three: {<<: *one, max_bad: 2}\n"
        "alerts: {slack: {channel: '#a', on: [drift]}}\n"
    )
    assert pipeline.owner == "yes"
    assert pipeline.description == "two\nlines\n"
    assert pipeline.sources["one"] == pipeline.sources["two"]
    assert [source.max_bad for source in pipeline.sources.values()] == [0.001, 0.001, 2]
    assert pipeline.alerts.slack is not None
    assert pipeline.alerts.slack.on == ("drift",)


def test_a_hostile_text_is_refused_quickly() -> None:
    for text in (
        "[" * 400_000,
        "{a: " * 100_000,
        "a: &a [*a]",
        "- " * 1000,
        "\x00",
        "&a " * 1000,
        "? " * 1000,
        "!!" * 99,
    ):
        with pytest.raises(TradewindError):
            load_text(text)


def test_many_pipelines_are_loaded_in_one_go(project: Path) -> None:
    text = (EXAMPLES / "breast_cancer.yaml").read_text()
    for number in range(200):
        write(project, f"p{number}.yaml", text.replace("breast-cancer", f"breast-cancer-{number}"))
    assert all(one.pipeline for one in load_all((project / "dags").rglob("*.yaml")))


def test_a_path_below_the_current_folder(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(project, "a.yaml", "version: 3\n")
    monkeypatch.chdir(project / "dags")
    assert problems(Path("pipelines") / "a.yaml")[0][1] == os.path.join("dags", "pipelines", "a.yaml")
