"""`settings.beam` of a profile: closed, and with no secret in it."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from tradewind_runtime.contract.beam import BeamSettings

DATAFLOW = {
    "project": "p",
    "region": "europe-west1",
    "temp_location": "gs://b/t",
    "sdk_container_image": "r/steps-beam@sha256:1",
}


@pytest.mark.parametrize(
    ("settings", "remote"),
    [
        ({}, False),
        ({"threads": 4, "options": {"direct_runner_bundle_repeat": 1}}, False),
        ({"runner": "flink", "options": {"job_endpoint": "jobs:8099", "parallelism": 8}}, True),
        ({"runner": "spark", "options": {"job_endpoint": "jobs:8099", "environment_type": "LOOPBACK"}}, False),
        ({"runner": "dataflow", "options": {**DATAFLOW, "max_num_workers": 4, "labels": ["team=ml"]}}, True),
    ],
)
def test_what_a_profile_may_say(settings: dict[str, Any], remote: bool) -> None:
    assert BeamSettings.model_validate(settings).remote is remote


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"runner": "samza"}, "'direct', 'flink', 'spark' or 'dataflow'"),
        ({"master": "local"}, "Extra inputs are not permitted"),
        ({"threads": 0}, "greater than or equal to 1"),
        ({"runner": "flink"}, "the runner flink needs job_endpoint"),
        ({"runner": "dataflow", "options": {"project": "p"}}, "needs region, temp_location, sdk_container_image"),
        ({"runner": "flink", "threads": 2, "options": {"job_endpoint": "jobs:8099"}}, "threads: of direct alone"),
        ({"options": {"runner": "PrismRunner", "streaming": True}}, "runner, streaming is not for a profile to say"),
        ({"options": {"s3_secret_access_key": "x"}}, "s3_secret_access_key would show a secret"),
        ({"options": {"environment_options": ["a=https://me:word@host"]}}, "environment_options would show a secret"),
        ({"options": {"labels": {"a": 1}}}, "options.labels"),
    ],
)
def test_what_it_may_not(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError) as caught:
        BeamSettings.model_validate(settings)
    assert says in str(caught.value)
