"""Reads an OpenMetrics page on stdin with Prometheus's own parser, and prints each sample's name, labels and value."""

import sys

from prometheus_client.openmetrics.parser import text_string_to_metric_families

for family in text_string_to_metric_families(sys.stdin.read()):
    for sample in family.samples:
        labels = ",".join(f'{name}="{value}"' for name, value in sample.labels.items())
        print(f"{sample.name}{{{labels}}} {sample.value}")
