"""CloudWatch's metrics for MiniStack, as a stack that runs for hours needs them.

It walks all that it holds at every request; a query without dimensions sees
every metric of that name; results come oldest first, where CloudWatch says the
latest first; and an alarm is judged, whenever anything is published, by all
metrics of its name together. Here alarms change by SetAlarmState only: what
they would do is freshet-alarms' to say.
"""

import time
from collections import defaultdict

import ministack.services.cloudwatch as cloudwatch

EVICT_EVERY_S = 60
# CloudWatch keeps data for two weeks at least; this holds them in memory.
KEPT_S = 6 * 3600

evict_old_metrics = cloudwatch._evict_old_metrics
get_metric_data = cloudwatch._get_metric_data
last_eviction = time.time()


def evict_now_and_then():
    global last_eviction
    if time.time() - last_eviction >= EVICT_EVERY_S:
        last_eviction = time.time()
        evict_old_metrics()


def series(query, start, end):
    """The timestamps and values of one query, the oldest first."""
    statistic = query["MetricStat"]
    metric = statistic["Metric"]
    dimensions = cloudwatch._dims_key(cloudwatch._dims_from_list(metric.get("Dimensions") or []))
    period, unit = int(statistic["Period"]), statistic.get("Unit")
    periods = defaultdict(list)
    for point in cloudwatch._metrics.get((metric["Namespace"], metric["MetricName"], dimensions)) or []:
        if start <= point["Timestamp"] < end and unit in (None, point["Unit"]):
            periods[int(point["Timestamp"] // period) * period].append(point)
    for at in sorted(periods):
        value = cloudwatch._stat_value(cloudwatch._calc_stats(periods[at]), statistic["Stat"], periods[at])
        if value is not None:
            yield cloudwatch._ts_iso(at), value


def get_metric_data_exactly(params, data, is_cbor, is_json=False):
    queries = data.get("MetricDataQueries", []) if is_cbor else []
    if not queries or any("MetricStat" not in query for query in queries):
        return get_metric_data(params, data, is_cbor, is_json)
    start, end = (cloudwatch._parse_ts(data.get(key)) for key in ("StartTime", "EndTime"))
    if start is None or end is None or start >= end:
        return cloudwatch._error("ValidationError", "StartTime must be before EndTime", 400, use_cbor=True)
    results = []
    for query in queries:
        if not query.get("ReturnData", True):
            continue
        points = list(series(query, start, end))
        if data.get("ScanBy", "TimestampDescending") == "TimestampDescending":
            points.reverse()
        results.append({
            "Id": query["Id"],
            "Label": query.get("Label") or query["MetricStat"]["Metric"]["MetricName"],
            "Timestamps": [at for at, _ in points],
            "Values": [float(value) for _, value in points],
            "StatusCode": "Complete",
        })
    return cloudwatch._cbor_ok({"MetricDataResults": [cloudwatch._cbor_metric_data_result(r) for r in results]})


def correct():
    cloudwatch.TWO_WEEKS_SECONDS = KEPT_S
    cloudwatch._evict_old_metrics = evict_now_and_then
    cloudwatch._get_metric_data = get_metric_data_exactly
    cloudwatch._evaluate_alarm = lambda alarm: None
    cloudwatch._evaluate_all_alarms = lambda: None
