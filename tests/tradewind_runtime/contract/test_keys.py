"""What an address may name, and what its globs match."""

from __future__ import annotations

import warnings

import pytest
from pydantic import ValidationError

from tradewind_runtime.contract.keys import regex
from tradewind_runtime.contract.sources import ObjectsSource


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("../landing/*.csv", "has .. in it"),
        ("in/../in/ok.csv", "has .. in it"),
        ("in/./*.csv", "has . in it"),
        ("file:///data/%2E%2E/x.csv", "has .. in it"),
        ("{params.folder}/../x.csv", "has .. in it"),
        ("in//ok.csv", "an empty part"),
        ("in//*.csv", "an empty part"),
        ("s3://b/in//x.csv", "an empty part"),
        ("in/", "ends in a folder"),
        ("az://b", "ends in a folder"),
        ("in/[z-a]*.csv", r"[z-a] is no set of characters"),
        ("in/[!]x].csv", r"[!] is no set of characters"),
        ("/data/in/*.csv", "write file:///data/in/*.csv"),
    ],
)
def test_an_address_that_names_no_object_is_refused(uri: str, said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        ObjectsSource(uri=uri)
    (problem,) = caught.value.errors()
    assert said in problem["msg"]


@pytest.mark.parametrize(
    "uri",
    [
        "./in/*.csv", "in/[a-z0-9]*/**", "in/..csv", "in/{window.date:%Y/%m/%d}/{params.x}.csv", "{params.all}",
        "{params.scheme}://b/x", "{params.root}/in/*.csv", "file:///data/in/*.csv", "s3://{params.bucket}/in/[!_]*",
        "https://files.example.com/a//b/../c/", "s3://b/in/[&&|[~~]*",
        "in/[z-{params.x}]*",
    ],
)  # fmt: skip
def test_one_that_may_name_some_passes(uri: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ObjectsSource(uri=uri).uri == uri


def test_globs() -> None:
    match: dict[str, list[str]] = {
        "a/*.csv": ["a/b.csv"],
        "a/**/*.csv": ["a/b.csv", "a/c/d.csv", "a/c/e/f.csv"],
        "a/[bc].c?v": ["a/b.csv"],
        "a/[!b].csv": [],
        "**": ["a/b.csv", "a/c/d.csv", "a/c/e/f.csv"],
        "a+b/*": ["a+b/c"],
    }
    keys = ["a/b.csv", "a/c/d.csv", "a/c/e/f.csv"]
    for pattern, wanted in match.items():
        found = [key for key in [*keys, "a+b/c"] if regex(pattern).fullmatch(key)]
        assert [key for key in found if pattern != "**" or key in keys] == wanted, pattern
