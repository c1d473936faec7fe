//! Adapter: state in DynamoDB, written under conditions only.
