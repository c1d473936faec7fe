"""Who may do what: every wildcard of the templates is listed here with the
reason that it cannot be narrowed, the pipeline's role holds what CloudFormation's
own schemas ask for and nothing else, and the boundary has room for every role."""

import fnmatch
import json
import pathlib
import re
import sys

import cfnlint.data.schemas
import yaml_templates as templates

check = templates.Checks("template policies")

# (template, resource, what is wild) -> why. What is wild is a resource, an
# action or a principal with a * in it, as the template writes it.
CANNOT_BE_NARROWED = {
    # Objects, documents and streams inside one thing that is named.
    ("template.yaml", "DeadLetterBucketPolicy", "s3:*"): "a refusal: whatever comes without TLS",
    ("template.yaml", "DeadLetterBucketPolicy", "*"): "a refusal: whoever comes without TLS",
    ("template.yaml", "DeadLetterBucketPolicy", "${DeadLetterBucket.Arn}/*"): "a refusal: all objects",
    ("template.yaml", "DeploymentRole", "*"): "CodeDeploy asks for alarms by name in one call, as AWS's own policy lets it",
    ("template.yaml", "DeploymentRole", "${CollectFunction.Arn}:*"): "the function's versions and aliases",
    ("template.yaml", "DeploymentRole", "${EnrichFunction.Arn}:*"): "the function's versions and aliases",
    ("template.yaml", "DeploymentRole", "${AggregateFunction.Arn}:*"): "the function's versions and aliases",
    ("template.yaml", "DeploymentRole", "${QueryFunction.Arn}:*"): "the function's versions and aliases",
    ("roles.yaml", "TracingPolicy", "*"): "X-Ray's segments are no resources",
    ("roles.yaml", "NetworkPolicy", "*"): "Lambda refuses the role unless it may make network interfaces anywhere",
    ("roles.yaml", "EnrichRole", "${BucketArn}/rejected/*"): "objects under a prefix",
    ("roles.yaml", "EnrichRole", "${BucketArn}/undecodable/*"): "objects under a prefix",
    ("roles.yaml", "EnrichRole", "${BucketArn}/aws/lambda/*"): "objects under a prefix",
    ("roles.yaml", "EnrichRole", "${DomainArn}/*"): "paths of one domain, where fine-grained access control decides",
    ("roles.yaml", "AggregateRole", "${BucketArn}/aws/lambda/*"): "objects under a prefix",
    ("roles.yaml", "HealthRole", "*"): "cloudwatch:GetMetricData knows no resources",
    ("roles.yaml", "HealthRole", "${BucketArn}/aws/lambda/*"): "objects under a prefix",
    ("roles.yaml", "HealthRole", "${DomainArn}/*"): "paths of one domain, where fine-grained access control decides",
    ("roles.yaml", "ProvisionRole", "${DomainArn}/*"): "paths of one domain, where fine-grained access control decides",
    ("topics.yaml", "TopicKey", "kms:*"): "the account administers its key, or nobody could",
    ("topics.yaml", "TopicKey", "*"): "a key's policy is about that key alone",
    ("search.yaml", "Domain", "es:ESHttp*"): "fine-grained access control decides; a domain's policy in front could only refuse users with a password",
    ("search.yaml", "Domain", "*"): "as above: whoever signs in",
    ("search.yaml", "Domain", "domain/*"): "a domain's policy is about that domain, whose name is not known before it",
    ("search.yaml", "CognitoRole", "role/*"): "roles of the identity pool, which somebody else names; to Cognito only",
    ("pipeline.yaml", "ArtifactsPolicy", "s3:*"): "a refusal: whatever comes without TLS",
    ("pipeline.yaml", "ArtifactsPolicy", "*"): "a refusal: whoever comes without TLS",
    ("pipeline.yaml", "ArtifactsPolicy", "${Artifacts.Arn}/*"): "a refusal: all objects",
    ("pipeline.yaml", "DeployRole", "stack/${StackName}/*"): "a stack's ARN ends in an id that is made with it",
    ("pipeline.yaml", "DeployRole", "*"): "cloudformation:GetTemplateSummary of a template is of no stack",
    ("pipeline.yaml", "DeployRole", "${Artifacts.Arn}/*"): "objects of one bucket",
    ("pipeline.yaml", "DeployRole", "*/*/GET/v1/health"): "the API's id is made with it; one route",
    ("pipeline.yaml", "ExecuteFunctions", "${Artifacts.Arn}/*"): "objects of one bucket",
    ("pipeline.yaml", "ExecuteFunctions", "layer:LookupsLayer:*"): "a layer's versions",
    ("pipeline.yaml", "ExecuteFunctions", "event-source-mapping:*"): "mappings have ids, no names",
    ("pipeline.yaml", "ExecuteFunctions", "deploymentconfig:CodeDeployDefault.Lambda*"): "AWS's own, any of them by parameter",
    ("pipeline.yaml", "ExecuteFunctions", "/apis/*"): "APIs have ids, no names",
    ("pipeline.yaml", "ExecuteFunctions", "/tags/*"): "tags of an API stand under its encoded ARN",
    ("pipeline.yaml", "ExecuteData", "domain/*"): "CloudFormation names the domain, and not by the stack",
    ("pipeline.yaml", "ExecuteOperations", "key/*"): "keys have ids; by their tag of this stack only",
    ("pipeline.yaml", "ExecuteFunctions", "*"): "ec2:Describe* know no resources; mappings are made by the function that they are for",
    ("pipeline.yaml", "ExecuteData", "*"): "secretsmanager:GetRandomPassword knows no resources",
    ("pipeline.yaml", "ExecuteOperations", "*"): "log deliveries know no resources; a key is made under the tag of this stack",
    ("pipeline.yaml", "ExecuteOperations", "aws-service-role/opensearchservice.amazonaws.com/*"): "the service-linked role's own name; of this service only",
    ("pipeline.yaml", "Boundary", "*"): "the most that any role may hold: services above that know no resources",
    ("pipeline.yaml", "Boundary", "domain/*"): "CloudFormation names the domain, and not by the stack",
    ("pipeline.yaml", "Boundary", "secret:*"): "keys are in secrets that an operator names; each role has only its own",
}
# What bears the stack's name begins with it: generated names end at random.
BY_STACK = re.compile(r"\$\{StackName\}-(Roles-)?\*(/\*)?$|secret:MasterSecret-\*$")

# Writes that belong to features which no template uses.
UNUSED = """
    dynamodb:AssociateTableReplica dynamodb:BatchWriteItem dynamodb:CreateTableReplica dynamodb:DeleteItem dynamodb:DeleteResourcePolicy
    dynamodb:DescribeImport dynamodb:DisableKinesisStreamingDestination dynamodb:EnableKinesisStreamingDestination dynamodb:GetItem dynamodb:ImportTable
    dynamodb:PutItem dynamodb:PutResourcePolicy dynamodb:Query dynamodb:Scan dynamodb:UpdateContributorInsights dynamodb:UpdateItem
    dynamodb:UpdateKinesisStreamingDestination elasticfilesystem:* firehose:* s3files:* s3tables:* kinesis:DisableEnhancedMonitoring
    kinesis:EnableEnhancedMonitoring kinesis:PutRecords kinesis:UpdateMaxRecordSize kinesis:UpdateStreamRecordDistributionStrategy
    kinesis:UpdateStreamWarmThroughput kms:CreateGrant kms:Decrypt kms:Encrypt kms:GenerateDataKey kms:ListAliases kms:RevokeGrant
    lambda:AssociateRuntimeAlias lambda:DeleteFunctionCodeSigningConfig lambda:DeleteProvisionedConcurrencyConfig lambda:GetCodeSigningConfig
    lambda:PassCapacityProvider lambda:PutFunctionCodeSigningConfig lambda:PutFunctionRecursionConfig lambda:PutFunctionScalingConfig
    lambda:PutProvisionedConcurrencyConfig lambda:PutRuntimeManagementConfig logs:AssociateKmsKey logs:CreateLogStream logs:DeleteDataProtectionPolicy
    logs:DeleteIndexPolicy logs:DescribeLogStreams logs:DisassociateKmsKey logs:PutBearerTokenAuthentication logs:PutDataProtectionPolicy
    logs:PutIndexPolicy logs:PutLogEvents logs:PutLogGroupDeletionProtection s3:*Object* s3:REST.* s3:PutAcc* s3:PutAna* s3:PutBucketA* s3:PutBucketC*
    s3:PutBucketLogging s3:PutBucketNotification s3:PutBucketReplication s3:PutBucketVersioning s3:PutBucketWebsite s3:PutInt* s3:PutInv* s3:PutMetrics*
    s3:PutReplication* s3:CreateBucketMeta* s3:DeleteBucketA* s3:DeleteBucketC* s3:DeleteBucketE* s3:DeleteBucketL* s3:DeleteBucketM* s3:DeleteBucketR*
    s3:DeleteBucketW* s3:UpdateBucket* secretsmanager:Re* sns:PutDataProtectionPolicy codedeploy:RegisterOnPremisesInstance iam:Attach[GU]* iam:Detach[GU]*
    iam:DeleteRolePermissionsBoundary
""".split()
# Names in the schemas that are no actions of IAM: cfn-lint says so of each.
NO_ACTIONS = {"apigateway:TagResource", "apigateway:UntagResource", "es:UpdateDomain", "s3:getObject", "s3:GetObjectMetadata"}
# What is needed beside the schemas, and what for.
BESIDE = {
    "cloudformation:CreateChangeSet": "the SAM transform",
    "s3:GetObject": "code and nested templates",
    "s3:GetObjectVersion": "code and nested templates",
    "s3:GetBucketObjectLockConfiguration": "read with the bucket",
    "lambda:InvokeFunction": "the custom resource",
    "lambda:GetFunctionCodeSigningConfig": "read with the function",
    "es:UpdateDomainConfig": "es:UpdateDomain in the schema",
    "logs:GetLogDelivery": "the API's access log",
    "logs:ListLogDeliveries": "the API's access log",
    "logs:UpdateLogDelivery": "the API's access log",
    "logs:DeleteLogDelivery": "the API's access log",
    "iam:CreateServiceLinkedRole": "a domain in a VPC",
}


def statements(value):
    """Every statement of every policy below, whatever conditions surround it."""
    if isinstance(value, list):
        for item in value:
            yield from statements(item)
    elif isinstance(value, dict):
        if "Effect" in value:
            yield value
        else:
            for item in value.values():
                yield from statements(item)
    elif isinstance(value, str) and '"Effect"' in value:
        yield from statements(json.loads(re.sub(r"\$\{[^}]+\}", "x", value)))


def texts(value):
    """The texts of an action, a resource or a principal."""
    if isinstance(value, list):
        return [text for item in value for text in texts(item)]
    if isinstance(value, dict):
        if "Fn::If" in value:
            return texts(value["Fn::If"][1:])
        if "Fn::Sub" in value:
            return texts(value["Fn::Sub"])
        if "Ref" in value or "Fn::GetAtt" in value:
            return []
        return texts(list(value.values()))
    return [value]


def actions(resource):
    return {text for statement in statements(resource["Properties"]) for text in texts(statement["Action"])
            if statement["Effect"] == "Allow" and not text.startswith("sts:")}


loaded = {file.name: templates.load(file) for file in templates.nested()}
loaded["template.yaml"] = templates.expanded()

# ── wildcards ────────────────────────────────────────────────────────────────
met = set()
for name, template in loaded.items():
    for logical, resource in template["Resources"].items():
        for arn in resource.get("Properties", {}).get("ManagedPolicyArns", []):
            for text in texts(arn):
                check(f"{name} {logical}: {text} is AWS's policy, wider than what is needed", False)
        for statement in statements(resource.get("Properties", {})):
            for part in ("Action", "Resource", "Principal", "NotAction", "NotResource", "NotPrincipal"):
                check(f"{name} {logical}: no {part}", not part.startswith("Not") or part not in statement)
                for text in texts(statement.get(part, [])):
                    if "*" not in text or BY_STACK.search(text):
                        continue
                    keys = [key for key in CANNOT_BE_NARROWED if key[:2] == (name, logical) and
                            (text == key[2] or (key[2] != "*" and text.endswith((":" + key[2], "::" + key[2], "/" + key[2]))))]
                    check(f"{name} {logical}: {part} {text} is wild, and not listed", keys)
                    met.update(keys)
for key in sorted(set(CANNOT_BE_NARROWED) - met):
    check(f"{key} is listed, and is not there", False)

# ── the pipeline ─────────────────────────────────────────────────────────────
pipeline = loaded.pop("pipeline.yaml")["Resources"]
schemas = pathlib.Path(cfnlint.data.schemas.__file__).parent
by_type = json.loads((schemas / "providers/us-east-1.json").read_text(encoding="utf-8"))
asked = set()
types = {resource["Type"] for template in loaded.values() for resource in template["Resources"].values()}
for kind in types - {"Custom::SearchSetup"}:
    schema = json.loads((schemas / f"resources/{by_type[kind]}.json").read_text(encoding="utf-8"))
    for handler in ("create", "read", "update", "delete"):
        asked.update(schema.get("handlers", {}).get(handler, {}).get("permissions", []))
asked = {action for action in asked - NO_ACTIONS if not any(fnmatch.fnmatchcase(action, unused) for unused in UNUSED)}
parts = [resource for logical, resource in pipeline.items() if logical.startswith("Execute")]
attached = {templates.reference(arn) for arn in pipeline["ExecutionRole"]["Properties"]["ManagedPolicyArns"]}
check("all of them are attached", attached == {logical for logical in pipeline if logical.startswith("Execute")} and len(parts) == 3)
held = set().union(*(actions(part) for part in parts))
check(f"CloudFormation asks for more than its role holds: {sorted(asked - held)}", asked and not asked - held)
check(f"its role holds what nothing asks for: {sorted(held - asked - set(BESIDE))}", not held - asked - set(BESIDE))
check(f"{set(BESIDE) - held} is said to be needed, and not held", set(BESIDE) <= held)
for unused in UNUSED:
    check(f"the role holds {unused}, which no template uses", not {a for a in held - set(BESIDE) if fnmatch.fnmatchcase(a, unused)})

for logical in ("DeployRole", "ExecuteOperations"):
    passing = [s for s in statements(pipeline[logical]["Properties"]) if "iam:PassRole" in texts(s["Action"])]
    check(f"{logical} passes roles to named services only",
          passing and all("iam:PassedToService" in s["Condition"]["StringEquals"] and "*" not in texts(s["Resource"]) for s in passing))
for logical in ("DeployRole", "ExecutionRole"):
    trust = pipeline[logical]["Properties"]["AssumeRolePolicyDocument"]["Statement"]
    check(f"{logical} is assumed on a condition", all(s.get("Condition") for s in trust))
subject = pipeline["DeployRole"]["Properties"]["AssumeRolePolicyDocument"]["Statement"][0]["Condition"]["StringEquals"]
check("GitHub signs in from one repository and one environment",
      texts(subject["token.actions.githubusercontent.com:sub"]) == ["repo:${GitHubRepository}:environment:${GitHubEnvironment}"])
for statement in statements(parts):
    if {"iam:CreateRole", "iam:PutRolePolicy", "iam:AttachRolePolicy"} & set(texts(statement["Action"])):
        check("roles are created under the boundary only", "iam:PermissionsBoundary" in statement.get("Condition", {}).get("StringEquals", {}))

# ── the boundary ─────────────────────────────────────────────────────────────
roles, bounded = set(), actions(pipeline["Boundary"])
for name, template in loaded.items():
    for logical, resource in template["Resources"].items():
        if resource["Type"] == "AWS::IAM::Role":
            check(f"{name} {logical}: takes the boundary", "Fn::If" in resource["Properties"].get("PermissionsBoundary", {}))
        # Sign-in by Cognito is set up by an administrator, not by the pipeline.
        if resource["Type"] in ("AWS::IAM::Role", "AWS::IAM::ManagedPolicy") and logical != "CognitoRole":
            roles |= actions(resource)
check(f"roles need {sorted(roles - bounded)} of the boundary", not roles - bounded)
check(f"the boundary has {sorted(bounded - roles)}, which no role needs", not bounded - roles)


def size(value):
    """IAM's count: characters, without white space, of values about this long."""
    text = json.dumps(value, separators=(",", ":"))
    for variable, sample in (("AWS::Partition", "aws"), ("AWS::Region", "ap-southeast-2"), ("AWS::AccountId", "123456789012"), ("StackName", "a" * 20)):
        text = text.replace("${" + variable + "}", sample)
    return len(re.sub(r"\s", "", text))


for part in parts:
    check(f"{part['Properties']['Description']}: short enough", size(part["Properties"]["PolicyDocument"]) <= 6144)
check("the boundary is short enough", size(pipeline["Boundary"]["Properties"]["PolicyDocument"]) <= 6144)
for logical, resource in loaded["roles.yaml"]["Resources"].items():
    check(f"{logical} is short enough", size(resource["Properties"].get("Policies", [])) <= 10240)

# ── what holds data ──────────────────────────────────────────────────────────
# Kept when the stack goes, or gone with it: said of each, never left to a default.
KEPT = {"AWS::Kinesis::Stream", "AWS::SQS::Queue", "AWS::S3::Bucket", "AWS::OpenSearchService::Domain", "AWS::SecretsManager::Secret"}
SAID = KEPT | {"AWS::DynamoDB::Table", "AWS::Logs::LogGroup", "AWS::KMS::Key"}
for name, template in {**loaded, "pipeline.yaml": {"Resources": pipeline}}.items():
    for logical, resource in template["Resources"].items():
        if resource["Type"] in SAID:
            policies = {resource.get("DeletionPolicy"), resource.get("UpdateReplacePolicy")}
            wanted = [{"Retain"}] if resource["Type"] in KEPT else [{"Retain"}, {"Delete"}]
            check(f"{name} {logical}: {resource['Type']} says what becomes of its data", policies in wanted)
sys.exit(check.report())
