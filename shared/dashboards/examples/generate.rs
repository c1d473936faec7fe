//! Writes `dashboards/freshet.ndjson` out of the sources beside it:
//! `cargo run -p freshet-dashboards --example generate`

use freshet_dashboards::{Mapping, SavedObjects, Sources, check, generate};
use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folder = root.join("dashboards");
    let mut sources = Sources::new();
    for (inside, prefix) in [("", ""), ("panels", "panels/")] {
        for entry in fs::read_dir(folder.join(inside))? {
            let path = entry?.path();
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            if name.ends_with(".json") {
                sources.insert(format!("{prefix}{name}"), fs::read_to_string(path)?);
            }
        }
    }
    let ndjson = generate(&sources)?;
    let objects = SavedObjects::parse(&ndjson)?;
    let mut mappings = BTreeMap::new();
    for entry in fs::read_dir(root.join("infra/opensearch"))? {
        let path = entry?.path();
        if path.to_string_lossy().ends_with("-template.json") {
            let template = serde_json::from_str(&fs::read_to_string(path)?)?;
            mappings.extend(Mapping::by_pattern(&template));
        }
    }
    let problems = check(&objects, &mappings);
    if !problems.is_empty() {
        return Err(problems.join("\n").into());
    }
    fs::write(folder.join("freshet.ndjson"), &ndjson)?;
    println!(
        "{} panels on {} dashboards, {} bytes",
        objects.panels.len(),
        objects.dashboards.len(),
        ndjson.len()
    );
    Ok(())
}
