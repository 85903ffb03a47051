"""Drift: a profile saved at training, compared exactly with what is served; Evidently draws the report.

`profile` and `reference` make the artefact's `profile.json` and `reference.arrow` (a bounded sample, for the
report) at training; `compare` gives a population stability index for each feature, of any stream of rows.
"""

from tradewind_runtime.drift.profile import Profile, Sampler, profile, reference
from tradewind_runtime.drift.psi import Comparison, FeatureDrift, compare

__all__ = ["Comparison", "FeatureDrift", "Profile", "Sampler", "compare", "profile", "reference"]
