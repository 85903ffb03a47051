"""Documents: the one write that is atomic everywhere."""

import threading

from pydantic import BaseModel

from tradewind_runtime.documents import Documents


class Note(BaseModel):
    text: str


def test_only_one_of_many_creates(lake_uri):
    documents, won = Documents(lake_uri), []
    threads = [
        threading.Thread(target=lambda n=n: won.append(n) if documents.create("a/b.json", b"%d" % n) else None)
        for n in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert documents.get("a/b.json") == b"%d" % won[0]


def test_models_names_and_deletion(lake_uri):
    documents = Documents(lake_uri)
    assert documents.get_model("x/1.json", Note) is None
    assert documents.create_model("x/2.json", Note(text="ä"))
    assert documents.create_model("x/1 with space.json", Note(text="b"))
    assert not documents.create_model("x/2.json", Note(text="other"))
    assert documents.get_model("x/2.json", Note) == Note(text="ä")
    assert list(documents.names("x")) == ["x/1 with space.json", "x/2.json"]
    assert list(documents.names("nothing")) == []
    documents.put("x/2.json", b"{}")
    documents.delete("x/2.json")
    documents.delete("x/2.json")
    assert documents.get("x/2.json") is None
