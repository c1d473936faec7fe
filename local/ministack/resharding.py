"""Kinesis's resharding for MiniStack, whose own throws the parents away.

In Kinesis a parent is closed: it takes no more records, is listed with its last
sequence number until it expires, and a read at its end brings no further
iterator.
"""

import json

import ministack.services.kinesis as kinesis


def open_shards(stream):
    return {sid: shard for sid, shard in stream["shards"].items() if "ending_sequence_number" not in shard}


route_to_shard = kinesis._route_to_shard
shard_out = kinesis._shard_out
get_records = kinesis._get_records
describe_stream_summary = kinesis._describe_stream_summary
split_shard = kinesis._split_shard
merge_shards = kinesis._merge_shards


def resharded(stream, parents, reshard):
    """Runs a reshard of theirs, and keeps the parents that it throws away."""
    for sid in parents:
        if sid in stream["shards"] and sid not in open_shards(stream):
            return kinesis.error_response_json("InvalidArgumentException", f"Shard {sid} is closed", 400)
    before = dict(stream["shards"])
    end = kinesis._next_sequence_number()
    answer = reshard()
    for sid in before.keys() - stream["shards"].keys():
        stream["shards"][sid] = {**before[sid], "ending_sequence_number": end}
    return answer


def split_keeping_the_parent(data):
    _, stream = kinesis._resolve_stream(data)
    if not stream:
        return split_shard(data)
    return resharded(stream, [data.get("ShardToSplit")], lambda: split_shard(data))


def merge_keeping_the_parents(data):
    _, stream = kinesis._resolve_stream(data)
    pair = [data.get("ShardToMerge"), data.get("AdjacentShardToMerge")]
    if not stream or any(sid not in stream["shards"] for sid in pair):
        return merge_shards(data)
    one, other = sorted((stream["shards"][sid] for sid in pair), key=lambda shard: int(shard["starting_hash_key"]))
    if int(one["ending_hash_key"]) + 1 != int(other["starting_hash_key"]):
        return kinesis.error_response_json("InvalidArgumentException", "The shards are not adjacent", 400)
    return resharded(stream, pair, lambda: merge_shards(data))


def update_shard_count(data):
    """Doubles or halves, the two that need no shards in between."""
    name, stream = kinesis._resolve_stream(data)
    if not stream:
        return kinesis.error_response_json("ResourceNotFoundException", f"Stream {name} not found", 400)
    ids = sorted(open_shards(stream), key=lambda sid: int(stream["shards"][sid]["starting_hash_key"]))
    target = int(data.get("TargetShardCount", 0))
    if target == 2 * len(ids):
        for sid in ids:
            shard = stream["shards"][sid]
            middle = (int(shard["starting_hash_key"]) + int(shard["ending_hash_key"]) + 1) // 2
            split_keeping_the_parent({**data, "ShardToSplit": sid, "NewStartingHashKey": str(middle)})
    elif 2 * target == len(ids):
        for one, other in zip(ids[::2], ids[1::2]):
            merge_keeping_the_parents({**data, "ShardToMerge": one, "AdjacentShardToMerge": other})
    elif target != len(ids):
        return kinesis.error_response_json(
            "ValidationException", f"Here {len(ids)} shards can become twice or half as many only", 400
        )
    return kinesis.json_response({
        "StreamName": stream["StreamName"],
        "StreamARN": stream["StreamARN"],
        "CurrentShardCount": len(ids),
        "TargetShardCount": target,
    })


def shard_out_with_its_end(shard_id, shard):
    out = shard_out(shard_id, shard)
    if "ending_sequence_number" in shard:
        out["SequenceNumberRange"]["EndingSequenceNumber"] = shard["ending_sequence_number"]
    return out


def get_records_to_the_end(data):
    status, headers, body = get_records(data)
    state = kinesis._shard_iterators.get(data.get("ShardIterator"))
    stream = state and kinesis._streams.get(state["stream"])
    shard = stream and stream["shards"].get(state["shard_id"])
    if status != 200 or not shard or "ending_sequence_number" not in shard:
        return status, headers, body
    answer = json.loads(body)
    following = kinesis._shard_iterators[answer["NextShardIterator"]]
    if following["position"] >= len(shard["records"]):
        del kinesis._shard_iterators[answer.pop("NextShardIterator")]
        answer["ChildShards"] = [
            {
                "ShardId": sid,
                "ParentShards": parents,
                "HashKeyRange": {"StartingHashKey": child["starting_hash_key"], "EndingHashKey": child["ending_hash_key"]},
            }
            for sid, child in sorted(stream["shards"].items())
            if state["shard_id"]
            in (parents := [p for p in (child["parent_shard_id"], child["adjacent_parent_shard_id"]) if p])
        ]
    return kinesis.json_response(answer)


def summary_of_open_shards(data):
    status, headers, body = describe_stream_summary(data)
    if status != 200:
        return status, headers, body
    answer = json.loads(body)
    _, stream = kinesis._resolve_stream(data)
    answer["StreamDescriptionSummary"]["OpenShardCount"] = len(open_shards(stream))
    return kinesis.json_response(answer)


def route_to_open_shard(hash_key, stream):
    sid = route_to_shard(hash_key, stream)
    if "ending_sequence_number" not in stream["shards"][sid]:
        return sid
    return route_to_shard(hash_key, {"shards": open_shards(stream)})


def correct():
    kinesis._route_to_shard = route_to_open_shard
    kinesis._shard_out = shard_out_with_its_end
    kinesis._get_records = get_records_to_the_end
    kinesis._describe_stream_summary = summary_of_open_shards
    kinesis._split_shard = split_keeping_the_parent
    kinesis._merge_shards = merge_keeping_the_parents
    kinesis._update_shard_count = update_shard_count
