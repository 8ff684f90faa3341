"""Reads what multiconn-client wrote with the tools that others use: Python's json and the hdrhistogram package.

Usage: read_results.py RUN.json RUN.hgrm RUN.hlog
Prints the number of replies, and their p99 in nanoseconds, as each of the three files says; of a log with tags, those of
each tag, too. Ends with status 3 when the package is not there.
"""

import json
import sys

try:
    from hdrh.histogram import HdrHistogram
    from hdrh.log import HistogramLogReader
except ImportError:
    sys.exit(3)

run_path, hgrm_path, log_path = sys.argv[1:]

with open(run_path, encoding="utf-8") as file:
    run = json.load(file)
histograms = run["histograms"]
latency = histograms["response_time"] if histograms["response_time"]["count"] else histograms["service_time"]
decoded = HdrHistogram.decode(latency["hdr"])
assert decoded.get_value_at_percentile(99) == latency["p99_ns"], latency
print("json", decoded.get_total_count(), decoded.get_value_at_percentile(99))

with open(hgrm_path, encoding="utf-8") as file:
    lines = file.read().splitlines()
assert lines[0].split() == ["Value", "Percentile", "TotalCount", "1/(1-Percentile)"], lines[0]
rows = [[float(word) for word in line.split()] for line in lines[1:] if line and not line.startswith("#")]
p99_ms = next(row[0] for row in rows if row[1] >= 0.99)
print("hgrm", int(rows[-1][2]), round(p99_ms * 1e6))

totals = {}
reader = HistogramLogReader(log_path, HdrHistogram(1, 3_600_000_000_000, 3))
while (interval := reader.get_next_interval_histogram()) is not None:
    total = totals.setdefault(interval.get_tag(), HdrHistogram(1, 3_600_000_000_000, 3))
    total.add(interval)
for tag in sorted(totals, key=lambda tag: tag or ""):
    print(tag or "log", totals[tag].get_total_count(), totals[tag].get_value_at_percentile(99))
