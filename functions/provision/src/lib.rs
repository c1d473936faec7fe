//! Lambda behind a CloudFormation custom resource: index template and first write index.
