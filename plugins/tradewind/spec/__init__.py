"""What a YAML may say. `load` gives a validated Pipeline, or all that is wrong with the file."""

from tradewind.spec.load import Loaded, load, load_all, load_text
from tradewind.spec.params import Param
from tradewind.spec.pipeline import Pipeline
from tradewind.spec.schedule import Schedule

__all__ = ["Loaded", "Param", "Pipeline", "Schedule", "load", "load_all", "load_text"]
