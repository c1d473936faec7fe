//! What differs between installations.

/// Where old indices go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tiers {
    /// They stay where they are.
    None,
    /// To nodes with `node.attr.box_type: cold`.
    BoxType,
    /// To `UltraWarm`, on managed domains that have it.
    UltraWarm,
    /// To `UltraWarm`, then to cold storage.
    UltraWarmCold,
}

impl Tiers {
    /// Every variant by its word, the default first.
    pub const WORDS: [(&'static str, Self); 4] = [
        ("none", Self::None),
        ("box_type", Self::BoxType),
        ("ultrawarm", Self::UltraWarm),
        ("ultrawarm_cold", Self::UltraWarmCold),
    ];
}

/// What to do where the policy API or Dashboards is absent, or refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnMissing {
    /// Provisioning fails.
    Fail,
    /// The step is skipped, and the report says why.
    Skip,
}

impl OnMissing {
    /// Both by their words, the default first.
    pub const WORDS: [(&'static str, Self); 2] = [("fail", Self::Fail), ("skip", Self::Skip)];
}

/// The IAM roles that are let in, where fine-grained access control is on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoleArns {
    /// May index.
    pub enrich: Option<String>,
    /// May read the cluster's health.
    pub health: Option<String>,
    /// May read events and use Dashboards.
    pub analysts: Vec<String>,
    /// Provisions: may do everything.
    pub provision: Option<String>,
}

/// What differs between installations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The write alias.
    pub alias: String,
    /// Primary shards of each backing index.
    pub shards: u32,
    /// Replicas of each shard.
    pub replicas: u32,
    /// How soon a document is searchable, in OpenSearch's own notation.
    pub refresh_interval: String,
    /// Where old indices go.
    pub tiers: Tiers,
    /// What to do where something is absent or refuses.
    pub on_missing: OnMissing,
    /// Who is let in.
    pub role_arns: RoleArns,
    /// Say what would change, and change nothing.
    pub dry_run: bool,
}

impl Default for Settings {
    /// The article's.
    fn default() -> Self {
        Self {
            alias: "clickstream".to_owned(),
            shards: 6,
            replicas: 1,
            refresh_interval: "5s".to_owned(),
            tiers: Tiers::None,
            on_missing: OnMissing::Fail,
            role_arns: RoleArns::default(),
            dry_run: false,
        }
    }
}
