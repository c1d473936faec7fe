#!/usr/bin/env bash
# Proves that infra/check.sh and tests/template/run.sh can fail: each of these
# mistakes must be found.
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
source "$root/tests/env.sh"
source "$root/infra/tools.sh"
# Before several want to install them at once.
sam_environment >/dev/null && policy=$(policy_environment) || exit 1
work=$(mktemp -d "$root/.mutation-XXXXXX"); trap 'rm -rf "$work"' EXIT
said=$work/said # what each has found, by its number
mkdir "$said"
number=0

# Runs one in a folder of its own, as many at once as there are cores.
one() {
  number=$((number + 1))
  local into; into=$said/$(printf '%03d' $number)
  while [ "$(jobs -rp | wc -l)" -ge "$(nproc)" ]; do wait -n; done
  (own=$(mktemp -d "$work/one-XXXXXX"); "$@" > "$into" 2>&1; rm -rf "$own") &
}
mutate() { one mutated "$@"; }
promise() { one promised "$@"; }

mutated() { # what, sed expression
  sed -E "$2" "$root/template.yaml" > "$own/template.yaml"
  if cmp -s "$root/template.yaml" "$own/template.yaml"; then
    echo "FAILED  $1: the expression changes nothing"
  elif "$root/infra/check.sh" "$own/template.yaml" >"$own/out" 2>&1; then
    echo "FAILED  $1: not found"
  else
    echo "ok      $1"
  fi
}

# Whatever fails as it is proves nothing when it fails changed.
unchanged() {
  if "$root/infra/check.sh" "$root/template.yaml" >"$own/out" 2>&1 && bash "$root/tests/template/run.sh" >"$own/out" 2>&1; then
    echo "ok      unchanged, nothing is found"
  else
    echo "FAILED  unchanged, nothing is found"; sed 's/^/        /' "$own/out"
  fi
}
one unchanged

mutate "a misspelt property of a function" 's/^      MemorySize: 512/      MemorySise: 512/'
mutate "a misspelt property of the mapping" 's/^      MaximumBatchingWindowInSeconds/      MaximumBatchingWindowSeconds/'
mutate "a batching window out of range" 's/(MaximumBatchingWindowInSeconds:) 1$/\1 900/'
mutate "a parallelization factor out of range" 's/(ParallelizationFactor:) 4/\1 40/'
mutate "a tumbling window out of range" 's/(TumblingWindowInSeconds:) 60/\1 901/'
mutate "a value that is none of the allowed" 's/(StartingPosition:) TRIM_HORIZON/\1 BEGINNING/'
mutate "a reference to nothing" 's/!Ref DeadLetterQueue$/!Ref DeadLetterQueu/'
mutate "an attribute of nothing" 's/!GetAtt HealthScheduleRole.Arn/!GetAtt Nothing.Arn/'
mutate "a required property missing" '/^      PayloadFormatVersion|^      IntegrationType: AWS_PROXY/d'
mutate "a condition that there is none" 's/QueryByIam, AWS_IAM/QueryByIm, AWS_IAM/'

# What tests/template/run.sh holds, in a copy of what it reads.
promised() { # script, what, file, sed expression
  local copy=$own/copy
  mkdir -p "$copy/tests" && cp -r "$root"/{docs,infra,.github,template.yaml,samconfig.toml} "$copy/" && cp -r "$root/tests/template" "$root/tests/env.sh" "$copy/tests/"
  sed -i -E "$4" "$copy/$3"
  if cmp -s "$root/$3" "$copy/$3"; then
    echo "FAILED  $2: the expression changes nothing"
  elif bash "$copy/tests/template/run.sh" "$1" >"$own/out" 2>&1; then
    echo "FAILED  $2: not found"
  elif ! grep -q '^FAILED' "$own/out"; then
    echo "FAILED  $2: $1 did not get that far"; sed 's/^/        /' "$own/out"
  else
    echo "ok      $2"
  fi
}

promise alarms "an alarm that nobody is told of" infra/alarms.yaml '0,/      OKActions: .*/{//d}'
promise alarms "an alarm on a metric that nobody publishes" infra/alarms.yaml 's/MetricName: LagRecords/MetricName: LagRecord/'
promise alarms "an alarm on a metric of another stage" infra/alarms.yaml '/MetricName: IteratorAge/{n;s/Value: enrich/Value: collect/}'
promise alarms "a threshold that is no parameter" infra/alarms.yaml 's/Threshold: !Ref ProcessingLatencyMs/Threshold: 5000/'
promise alarms "silence that nobody decided on" infra/function-alarms.yaml '0,/      TreatMissingData: .*/{//d}'
promise alarms "a section of the runbook that is missing" docs/runbook.md 's/^## disk-full$/## disk/'
promise alarms "a section that does not say what to do" docs/runbook.md '/^## cluster-red/,/^## disk-full/s/\*\*Do\.\*\*//'
promise dashboard "widgets that overlap" infra/dashboard.yaml 's/"x":6,"y":9,/"x":5,"y":9,/'
promise dashboard "a widget beyond the edge" infra/dashboard.yaml 's/"x":18,"y":9,/"x":19,"y":9,/'
promise dashboard "a widget of a metric that nobody publishes" infra/dashboard.yaml 's/"LedgerResidue"/"LedgerResidu"/'
promise dashboard "an alarm that the dashboard lacks" infra/dashboard.yaml '/-disk-full",$/d'
promise policies "a wildcard that nobody explained" infra/roles.yaml 's/Action: kinesis:PutRecords/Action: kinesis:*/'
promise policies "a resource that is everything" infra/roles.yaml 's/Resource: !Ref QueueArn/Resource: "*"/'
promise policies "AWS's own wide policy" infra/roles.yaml '0,/ManagedPolicyArns: \[/s//ManagedPolicyArns: ["arn:aws:iam::aws:policy\/AmazonKinesisFullAccess", /'
promise policies "data that goes with the stack" template.yaml '/^  EventStream:/,/Properties/s/DeletionPolicy: Retain/DeletionPolicy: Delete/'
promise policies "data of which nothing is said" template.yaml '/^  SessionTable:/,/Properties/{/UpdateReplacePolicy/d}'
promise policies "the pipeline lacks a permission" infra/pipeline.yaml 's/kinesis:CreateStream, //'
promise policies "the pipeline holds one too many" infra/pipeline.yaml 's/lambda:PublishVersion/lambda:PublishVersion, lambda:InvokeAsync/'
promise policies "the boundary is too narrow" infra/pipeline.yaml 's/kinesis:PutRecords\]/kinesis:ListShards]/; s/, kinesis:PutRecords$//; s/kinesis:PutRecords, //'
promise policies "roles without the boundary" infra/roles.yaml '/^  EnrichRole:/,/Policies/{/PermissionsBoundary/d}'
promise policies "any branch may deploy" infra/pipeline.yaml 's/:environment:\$\{GitHubEnvironment\}/:*/'
promise deployment "a mapping past the alias" template.yaml 's/FunctionName: !Ref EnrichFunction.Alias/FunctionName: !Ref EnrichFunction/'
promise deployment "a deployment taken back by another's errors" template.yaml 's/EnrichAlarms.Outputs.ErrorsAlarm/CollectAlarms.Outputs.ErrorsAlarm/'
promise deployment "resources that wait for each other" template.yaml 's/(RollsBack, \[!GetAtt )EnrichAlarms/\1HealthAlarms/'
promise deployment "less concurrency than readers" template.yaml 's/"12": \{ Enrich: 48/"12": { Enrich: 12/'
promise deployment "a parameter of a stage that there is none" samconfig.toml 's/"ShardCount=2"/"Shards=2"/'
promise deployment "an action that is not pinned" .github/workflows/test.yml 's/setup-node@[0-9a-f]+/setup-node@v4/'
promise deployment "production before staging" .github/workflows/deploy.yml 's/needs: staging/needs: build/'
promise deployment "a release that forgets parameters" infra/deploy.sh "s/printf '%s.n' .*overrides.*; git diff/git diff/"
promise smoke "a smoke test that takes any report" infra/smoke.sh 's/\.checked_at >= \$started/true/'

# Policy as code.
public() {
  sed -E 's/BlockPublicAcls: true/BlockPublicAcls: false/' "$root/infra/pipeline.yaml" > "$own/pipeline.yaml"
  "$policy/bin/python" "$root/infra/policy/check.py" "$policy/bin/checkov" "pipeline.yaml=$own/pipeline.yaml" >"$own/out" 2>&1
  if grep -q '^CKV_AWS_53 pipeline.yaml:Artifacts' "$own/out"; then
    echo "ok      a bucket that may be made public"
  else
    echo "FAILED  a bucket that may be made public: not found"
  fi
}
one public

wait
cat "$said"/*
# One that said nothing has failed as well.
passed=$(cat "$said"/* | grep -c '^ok ')
echo "template mutations: $passed passed, $((number - passed)) failed"
[ "$passed" -eq "$number" ]
