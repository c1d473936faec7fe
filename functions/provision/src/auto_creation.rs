//! Which indices come into being by themselves.

use crate::cluster::{Cluster, ProvisionError, failed};
use crate::outcome::Outcome;
use crate::templates::Kind;
use serde_json::json;

/// The step's name.
pub(crate) const STEP: &str = "auto-creation of indices";

/// Which indices may come into being by a write: the daily ones, from their
/// templates, and whatever else is none of ours. A write to a backing index
/// that was deleted must fail and be tried again, not bring the name back as an
/// index outside the alias.
pub(crate) async fn provision(
    cluster: &Cluster<'_>,
    alias: &str,
) -> Result<Outcome, ProvisionError> {
    let path = "_cluster/settings?flat_settings=true";
    let key = "action.auto_create_index";
    let live = cluster.read(path).await.map_err(|e| failed(STEP, e))?;
    let live = live["persistent"][key].as_str();
    let wanted = patterns(alias, live);
    if live == Some(wanted.as_str()) {
        return Ok(Outcome::Unchanged);
    }
    let body = json!({"persistent": {key: wanted}});
    cluster.put(STEP, "_cluster/settings", &body).await?;
    Ok(match live {
        Some(live) => Outcome::Updated(format!("was {live}")),
        None => Outcome::Created,
    })
}

/// Ours first, as the first pattern that matches decides; then what the
/// operators have set for other indices.
fn patterns(alias: &str, live: Option<&str>) -> String {
    let ours = [
        format!("+{}", Kind::Sessions.pattern(alias)),
        format!("+{}", Kind::Rejections.pattern(alias)),
        format!("-{alias}*"),
    ];
    let others: Vec<&str> = match live {
        None | Some("true") => vec!["+*"],
        Some("false") => vec!["-*"],
        Some(list) => list
            .split(',')
            .map(str::trim)
            .filter(|pattern| !ours.iter().any(|own| own == pattern))
            .collect(),
    };
    let ours = ours.iter().map(String::as_str);
    ours.chain(others).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_operators_have_set_for_other_indices() {
        let ours = "+c_sessions-*,+c_rejections-*,-c*";
        assert_eq!(patterns("c", None), format!("{ours},+*"));
        assert_eq!(patterns("c", Some("-c*,+*")), format!("{ours},+*"));
        assert_eq!(patterns("c", Some("false")), format!("{ours},-*"));
        assert_eq!(
            patterns("c", Some("-secret*, +*")),
            format!("{ours},-secret*,+*")
        );
        let done = patterns("c", Some("-secret*, +*"));
        assert_eq!(patterns("c", Some(&done)), done);
    }
}
