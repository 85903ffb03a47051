"""The guides by task: their Python runs, their YAML is valid in a pipeline, and every option that they name exists."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.docs.pages import DOCS, fences, name, pages, site, spans

from tradewind.errors import TradewindError
from tradewind.profile import Profile
from tradewind.spec import load_text
from tradewind.spec.folders import merge
from tradewind.spec.nodes import Mapping, parse, plain
from tradewind.spec.pipeline import Pipeline
from tradewind_runtime.contract.resources import Resources
from tradewind_runtime.engines.spark import connect, executors, standalone
from tradewind_runtime.launchers.pod import PodSettings, refusals

GUIDES = DOCS / "guides"
#: What a team does every week.
TASKS = ("checks", "training", "scheduling", "rollout", "monitoring")
BLOCKS = "|".join(Pipeline.model_fields)
#: A pipeline with every block, into which a piece of YAML is put.
WHOLE = """
version: 1
pipeline: whole
schedule: "@daily"
params: {max_rounds: 200}
sources:
  flights: {kafka: {topic: flights}}
transform: {sql: {query: select * from flights}}
split: {time: dep_scheduled, train: 60d, valid: 7d, test: 7d}
train: {estimator: xgboost.XGBClassifier, label: late}
promote: {model: whole, when: {roc_auc: {min: 0.6}}}
deploy: {canary: [100]}
monitor: {then: retrain}
"""


def python() -> dict[Path, list[str]]:
    found = {page: [body for kind, body in fences(page.read_text()) if kind == "python"] for page in pages()}
    return {page: bodies for page, bodies in found.items() if bodies}


def done(page: str) -> dict[str, Any]:
    """What a guide's blocks leave, done one after the other as in a notebook."""
    names: dict[str, Any] = {"__name__": "notebook"}
    for body in python()[GUIDES / f"{page}.md"]:
        exec(compile(body, f"{page}.md", "exec"), names)
    return names


@pytest.mark.parametrize(("page", "bodies"), python().items(), ids=lambda item: name(item) if item in pages() else "")
def test_all_python_compiles(page: Path, bodies: list[str]) -> None:
    for body in bodies:
        compile(body, name(page), "exec")


def test_the_training_function_trains_in_a_notebook() -> None:
    left = done("training")
    truth = left["ctx"].valid.numpy()[1]
    assert len(left["answers"]) == len(left["ctx"].valid) == 100
    assert ((left["answers"] > 0.5) == truth).mean() > 0.7
    assert set(left["files"]) == {"model.ubj"}
    assert "valid_auc" in left["ctx"].reported


def test_every_part_of_the_context_is_told() -> None:
    text = (GUIDES / "training.md").read_text()
    context = done("training")["ctx"]
    parts, forms = (
        {part for part in dir(one) if not part.startswith("_") and part not in without}
        for one, without in ((context, {"from_tables"}), (context.train, {"table", "features", "label", "classes"}))
    )
    assert {part for part in parts if f"`ctx.{part}" not in text} == set()
    assert {form for form in forms if f"`.{form}()`" not in text} == set()


def test_the_index_is_what_the_guide_says() -> None:
    done("monitoring")


def pieces() -> list[tuple[str, str]]:
    """Blocks of a pipeline, in fences or in the text; those with `…` are no whole ones."""
    made = []
    for page in pages():
        text = page.read_text()
        found = [body for kind, body in fences(text) if kind in {"yaml", "yml"} and "version: 1" not in body]
        found += [span for span in spans(text) if re.fullmatch(rf"(?:{BLOCKS}): (?:\{{.*\}}|\"@\w+\")", span)]
        made += [(name(page), body) for body in found if "…" not in body and yaml.safe_load(body)]
    return [(page, body) for page, body in made if not is_profile(body)]


def is_profile(body: str) -> bool:
    """Whether a block is of a profile, and not of a pipeline."""
    given = yaml.safe_load(body)
    return isinstance(given, dict) and set(given) <= set(Profile.model_fields) - set(Pipeline.model_fields)


def put_into(piece: str, page: str) -> str:
    """A pipeline that has a piece, and elsewhere what it must have; of what excludes another, the piece's."""
    (over, wrong), (under, _) = parse(piece, page), parse(WHOLE, "whole")
    assert (wrong, over is None, under is None) == ([], False, False)
    assert over is not None
    assert under is not None
    for key, item in over.items.items():
        mine = under.items.get(key)
        under.items[key] = merge(mine, item, key) if isinstance(mine, Mapping) and isinstance(item, Mapping) else item
    return str(yaml.safe_dump(plain(under), sort_keys=False))


@pytest.mark.parametrize(("page", "piece"), pieces())
def test_every_piece_is_valid_in_a_pipeline(page: str, piece: str) -> None:
    load_text(put_into(piece, page), page)


def test_what_the_guide_asks_of_a_cluster_is_what_its_profile_allows() -> None:
    found = [body for kind, body in fences((GUIDES / "cluster.md").read_text()) if kind == "yaml"]
    (wanted,) = [Resources.model_validate(yaml.safe_load(one)["train"]["resources"]) for one in found if "train" in one]
    (body,) = [one for one in found if is_profile(one) and "kubernetes" in yaml.safe_load(one)]
    profile = Profile.model_validate({"profile": "cluster", **yaml.safe_load(body)})
    assert [*refusals(wanted, profile.kubernetes)] == []
    assert len([*refusals(wanted, PodSettings())]) == 3  # no spot nodes, Secrets or claims


def test_what_the_guide_says_of_executors_are_settings_of_them() -> None:
    found = [yaml.safe_load(body) for kind, body in fences((GUIDES / "cluster.md").read_text()) if kind == "yaml"]
    pods, cluster, server = [one["settings"]["spark"] for one in found if "settings" in one]
    assert executors.asked(pods)
    assert executors.wanted(pods).max == 8
    assert standalone.asked(cluster)
    assert standalone.addresses(cluster) == [("one.example.com", 7077), ("other.example.com", 7077)]
    assert executors.wanted(cluster).cores == 2
    assert connect.asked(server)
    assert connect.address(server, None) == ("spark.example.com", 15002)


@pytest.mark.parametrize("piece", ["deploy: {canary: [10, 50]}", "train: {wen: asked}", "tune: {optuna: {}}"])
def test_a_piece_that_is_wrong_is_found(piece: str) -> None:
    with pytest.raises(TradewindError):
        load_text(put_into(piece, "page"))


def test_pieces_are_found() -> None:
    assert {f"docs/guides/{task}.md" for task in TASKS} <= {page for page, _ in pieces()}
    assert ("docs/guides/scheduling.md", 'schedule: "@daily"') in pieces()


@lru_cache(maxsize=1)
def schema() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((DOCS / "reference/pipeline.schema.json").read_text())
    return found


def exists(path: list[str], here: dict[str, Any]) -> bool:
    """Whether a dotted path leads to something that a YAML may say."""
    if "$ref" in here:
        return exists(path, schema()["$defs"][here["$ref"].rpartition("/")[2]])
    if not path:
        return True
    below = [*here.get("anyOf", ()), *here.get("oneOf", ())]
    if any(exists(path, one) for one in below):
        return True
    head, rest = path[0], path[1:]
    named = here.get("properties", {}).get(head)
    keyed = next((one for key, one in here.get("patternProperties", {}).items() if re.match(key, head)), None)
    free = here.get("additionalProperties")
    found = named if named is not None else keyed if keyed is not None else {} if free is True else free
    return isinstance(found, dict) and exists(rest, found)


def options() -> list[tuple[str, str]]:
    dotted = re.compile(rf"(?:{BLOCKS})(?:\.[A-Za-z_]\w*)+")
    found = [(name(page), span) for page in pages() for span in spans(page.read_text()) if dotted.fullmatch(span)]
    return sorted({one for one in found if not one[1].endswith((".yaml", ".yml"))})


@pytest.mark.parametrize(("page", "option"), options())
def test_every_option_exists(page: str, option: str) -> None:
    assert exists(option.split("."), schema()), page


@pytest.mark.parametrize("option", ["train.features", "promote.when", "sources.flights.max_bad", "monitor.drift.psi"])
def test_an_option_that_exists_is_found(option: str) -> None:
    assert exists(option.split("."), schema())


@pytest.mark.parametrize("option", ["train.feature", "deploy.stages", "sources.flights.bad", "tune.optuna.trails"])
def test_an_option_that_does_not_exist_is_not(option: str) -> None:
    assert not exists(option.split("."), schema())


def test_the_site_has_every_guide() -> None:
    nav = re.findall(r"guides/[a-z-]+\.md", str(site()["nav"]))
    assert sorted(nav) == sorted(f"guides/{page.name}" for page in GUIDES.glob("*.md"))
