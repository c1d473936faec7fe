#!/usr/bin/env bash
# Proves that infra/check.sh can fail: each of these mistakes must be found.
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
work=$(mktemp -d "$root/.mutation-XXXXXX"); trap 'rm -rf "$work"' EXIT
passed=0 failed=0

mutate() { # what, sed expression
  sed -E "$2" "$root/template.yaml" > "$work/template.yaml"
  if cmp -s "$root/template.yaml" "$work/template.yaml"; then
    echo "FAILED  $1: the expression changes nothing"; failed=$((failed + 1))
  elif "$root/infra/check.sh" "$work/template.yaml" >"$work/out" 2>&1; then
    echo "FAILED  $1: not found"; failed=$((failed + 1))
  else
    echo "ok      $1"; passed=$((passed + 1))
  fi
}

mutate "a misspelt property of a function" 's/^      MemorySize: 512/      MemorySise: 512/'
mutate "a misspelt property of the mapping" 's/^      MaximumBatchingWindowInSeconds/      MaximumBatchingWindowSeconds/'
mutate "a batching window out of range" 's/(MaximumBatchingWindowInSeconds:) 1$/\1 900/'
mutate "a parallelization factor out of range" 's/(ParallelizationFactor:) 4/\1 40/'
mutate "a tumbling window out of range" 's/(TumblingWindowInSeconds:) 60/\1 901/'
mutate "a value that is none of the allowed" 's/(StartingPosition:) TRIM_HORIZON/\1 BEGINNING/'
mutate "a reference to nothing" 's/!Ref DeadLetterQueue$/!Ref DeadLetterQueu/'
mutate "an attribute of nothing" 's/(Action: s3:ListBucket.*)/\1\n              Condition: !GetAtt Nothing.Arn/'
mutate "a required property missing" '/^      PayloadFormatVersion|^      IntegrationType: AWS_PROXY/d'
mutate "a condition that there is none" 's/QueryByIam, AWS_IAM/QueryByIm, AWS_IAM/'
echo "template mutations: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
