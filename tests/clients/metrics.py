"""Checks the metrics on standard input with a strict parser and against the conventions."""

import sys

from prometheus_client.parser import text_string_to_metric_families

# Labels whose values no client can choose.
LABELS = {"cause", "class", "code", "le", "outcome", "reason", "version"}

text = sys.stdin.read()
names, series = set(), set()
for family in text_string_to_metric_families(text):
    assert family.name not in names, f"{family.name} is there twice"
    names.add(family.name)
    assert family.documentation, f"{family.name} has no help"
    assert family.type in {"counter", "gauge", "histogram"}, f"{family.name}: {family.type}"
    buckets = []
    for sample in family.samples:
        key = (sample.name, *sorted(sample.labels.items()))
        assert key not in series, f"{key} is there twice"
        series.add(key)
        assert set(sample.labels) <= LABELS, f"{key}: a label of its own"
        assert sample.value >= 0, f"{key}: {sample.value}"
        if family.type == "counter":
            assert sample.name.endswith("_total"), f"{sample.name} is a counter"
        if sample.name.endswith("_bucket"):
            buckets.append((float(sample.labels["le"]), sample.value))
        if sample.name.endswith("_count"):
            assert buckets[-1] == (float("inf"), sample.value), f"{sample.name}: {buckets}"
    assert buckets == sorted(buckets), f"{family.name}: {buckets}"
    assert [count for _, count in buckets] == sorted(count for _, count in buckets), family.name
assert len(names) > 30, names
