"""docs/metrics.md has every metric that is registered, and no other."""

from docs.generate_metrics import DOCUMENT, document, table


def test_the_document_is_what_the_code_says():
    text = DOCUMENT.read_text(encoding="utf-8")
    assert text == document(text), "stale: run `make docs`"


def test_queries_ask_only_for_what_there_is():
    text = DOCUMENT.read_text(encoding="utf-8").partition("Questions they answer:")[2]
    queries = text.split("```")[1]
    names = [word for word in queries.replace("(", " ").replace("[", " ").split() if "_" in word]
    asked = {name for name in names if name.startswith(("scheduler_", "ironfree_"))}
    known = {line.split("`")[1] for line in table().splitlines()[2:]}
    parts = ("_bucket", "_sum", "_count")
    assert len(asked) > 5
    for name in asked:
        plain = next((name.removesuffix(p) for p in parts if name.endswith(p)), name)
        assert plain in known
