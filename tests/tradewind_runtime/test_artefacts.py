"""Artefacts: the same files give the same digest, and one changed byte is refused."""

import pytest

from tradewind_runtime import artefacts
from tradewind_runtime.contract.errors import StepError
from tradewind_runtime.documents import Documents

FIELDS = {"framework": "xgboost", "task": "binary", "features": ("a", "b"), "label": "y", "classes": (0, 1)}


@pytest.fixture
def saved(tmp_path):
    folder = tmp_path / "model files"
    (folder / "more").mkdir(parents=True)
    (folder / "model.ubj").write_bytes(b"trees")
    (folder / "more" / "profile.json").write_bytes(b"{}")
    documents = Documents((tmp_path / "lake").as_uri())
    return documents, folder, artefacts.save(documents, folder, FIELDS)


def test_what_was_saved_is_loaded(saved):
    documents, folder, ref = saved
    found = artefacts.load(documents, ref.digest)
    assert found.files == {"model.ubj": b"trees", "more/profile.json": b"{}"}
    assert (found.manifest.features, found.manifest.digest) == (("a", "b"), ref.digest)
    assert artefacts.save(documents, folder, FIELDS) == ref
    assert artefacts.save(documents, folder, FIELDS | {"label": "z"}).digest != ref.digest


@pytest.mark.parametrize("name", ["model.ubj", "more/profile.json", "manifest.json"])
@pytest.mark.parametrize("content", [b"treez", None])
def test_a_changed_or_missing_file_is_refused(saved, name, content):
    documents, _, ref = saved
    path = artefacts.artefact_path(ref.digest, name)
    documents.delete(path)
    if content is not None:
        documents.put(path, content)
    with pytest.raises(StepError, match="TW560"):
        artefacts.load(documents, ref.digest)


def test_a_manifest_that_was_changed_to_suit_is_refused(saved):
    documents, _, ref = saved
    path = artefacts.artefact_path(ref.digest, "manifest.json")
    documents.put(path, documents.get(path).replace(b'"y"', b'"z"'))
    with pytest.raises(StepError, match="not what its digest says"):
        artefacts.load(documents, ref.digest)


def test_a_save_that_was_killed_halfway_is_finished_by_the_next(saved, tmp_path):
    documents, folder, ref = saved
    documents.delete(artefacts.artefact_path(ref.digest, "manifest.json"))
    documents.put(artefacts.artefact_path(ref.digest, "model.ubj"), b"tr")
    assert artefacts.save(documents, folder, FIELDS) == ref
    assert artefacts.load(documents, ref.digest).files["model.ubj"] == b"trees"
