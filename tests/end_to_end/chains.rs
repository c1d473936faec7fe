//! Chains and pieces in a table, made as the template says, of the emulator
//! and of AWS's own DynamoDB Local: conditions and pages must not be what only
//! one of them thinks they are.

use anyhow::{Context as _, Result, ensure};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType,
    ScalarAttributeType,
};
use freshet::install::{install, install_dynamodb};
use freshet::paths::Paths;
use freshet::progress::Progress;
use freshet::servers::{DynamoDb, MiniStack, free_port};
use freshet_events::Timestamp;
use freshet_local::cloud::aws_config;
use freshet_local::fault::{FaultProxy, Seen, Verdict};
use freshet_tables::{
    ChainName, ChainTable, HealthReport, HealthTable, Manifest, ManifestPut, PieceEntry, PieceName,
};
use futures::StreamExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

const SHARD: &str = "shardId-000000000000";
/// The last minute of an hour.
const WINDOW: i64 = 1_795_460_340;
const LATER: i64 = 4_000_000_000;

/// A table behind a proxy that counts what goes on from an earlier page.
struct Table {
    chains: ChainTable,
    health: HealthTable,
    raw: Client,
    name: String,
    next_pages: Arc<AtomicU32>,
    /// Kept running.
    _proxy: FaultProxy,
}

impl Table {
    async fn of(url: &str, name: String) -> Result<Self> {
        let proxy = FaultProxy::start(url).await?;
        let next_pages = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&next_pages);
        proxy.set(move |seen: &Seen<'_>| {
            let key = b"ExclusiveStartKey";
            if seen.operation == "Query" && seen.body.windows(key.len()).any(|at| at == key) {
                count.fetch_add(1, Ordering::AcqRel);
            }
            Verdict::Forward
        });
        Ok(Self {
            chains: ChainTable::new(&aws_config(&proxy.url).await, &name),
            health: HealthTable::new(&aws_config(&proxy.url).await, &name),
            raw: Client::new(&aws_config(url).await),
            name,
            next_pages,
            _proxy: proxy,
        })
    }

    /// What the table itself holds of an item.
    async fn holds(&self, pk: &str, sk: &str) -> Result<bool> {
        let request = self.raw.get_item().table_name(&self.name);
        let request = request.key("pk", text(pk)).key("sk", text(sk));
        let answer = request.consistent_read(true).send().await?;
        Ok(answer.item.is_some())
    }
}

fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

fn manifest(window_start: i64, first: &str, last: &str, pieces: usize) -> Manifest {
    let entry = |n: usize| PieceEntry {
        name: PieceName::of(SHARD, &n.to_le_bytes()),
        parts: 1,
        bytes: 400,
        panes: vec![window_start / 60, window_start / 60 + 1],
    };
    Manifest {
        chain: ChainName {
            window_start,
            shard: SHARD.to_owned(),
            first: first.to_owned(),
        },
        last: last.to_owned(),
        pieces: (0..pieces).map(entry).collect(),
        late_dropped: 1,
        early_dropped: 2,
    }
}

/// The last one that was written, even by a clock that went back.
async fn the_last_report_stays(table: &Table) -> Result<()> {
    ensure!(table.health.get().await?.is_none());
    let now_ms = jiff::Timestamp::now().as_millisecond();
    for (ms, status) in [(now_ms, "healthy"), (now_ms - 3_600_000, "unhealthy")] {
        let report = HealthReport {
            checked_at: Timestamp::from_millis(ms).context("a time")?,
            status: status.to_owned(),
            body: r#"{"checks":{"search":{"status":"red"}}}"#.to_owned(),
        };
        table.health.put(&report).await?;
        let stored = table.health.get().await?;
        ensure!(stored.as_ref() == Some(&report), "{stored:?}");
    }
    Ok(())
}

async fn the_furthest_manifest_stays(table: &Table) -> Result<()> {
    let put = async |last: &str| {
        let manifest = manifest(WINDOW, "7", last, 1);
        table.chains.put_manifest(&manifest, LATER).await
    };
    let stored = async || -> Result<String> {
        let found = table.chains.chains(WINDOW, WINDOW, 0).await?;
        ensure!(found.len() == 1, "{found:?}");
        Ok(found[0].last.clone())
    };
    // Numbers and not texts: 9 is less than 10.
    for (last, outcome, then) in [
        ("9", ManifestPut::Written, "9"),
        ("10", ManifestPut::Written, "10"),
        ("9", ManifestPut::Overtaken, "10"),
        ("10", ManifestPut::Written, "10"),
        (
            "99999999999999999999",
            ManifestPut::Written,
            "99999999999999999999",
        ),
        (
            "49600000000000000000000000000000000000000000000000000002",
            ManifestPut::Written,
            "49600000000000000000000000000000000000000000000000000002",
        ),
        (
            "99999999999999999999",
            ManifestPut::Overtaken,
            "49600000000000000000000000000000000000000000000000000002",
        ),
    ] {
        ensure!(put(last).await? == outcome, "{last}");
        ensure!(stored().await? == then, "{last}");
    }
    // Many at once: whoever comes last, the furthest stays.
    let racing = (0..40_u32).map(|n| {
        let manifest = manifest(WINDOW + 60, "8", &(n * 7 % 40).to_string(), 1);
        async move { table.chains.put_manifest(&manifest, LATER).await }
    });
    let outcomes: Vec<_> = futures::stream::iter(racing)
        .buffer_unordered(12)
        .collect()
        .await;
    for outcome in outcomes {
        outcome?;
    }
    let found = table.chains.chains(WINDOW + 60, WINDOW + 60, 0).await?;
    ensure!(found.len() == 1 && found[0].last == "39", "{found:?}");
    Ok(())
}

/// More than the megabyte that a page holds, over two hours.
async fn every_chain_is_found(table: &Table) -> Result<()> {
    let from = WINDOW + 86_400;
    let mut expected = Vec::new();
    for n in 0..40_i64 {
        let window_start = from + n / 20 * 60; // twenty in each of two hours
        let manifest = manifest(window_start, &format!("{}", 100 + n), &n.to_string(), 3_000);
        table.chains.put_manifest(&manifest, LATER).await?;
        expected.push(manifest);
    }
    // Neighbours of the range, which are not asked for, and one that has expired.
    for window_start in [from - 60, from + 120] {
        let manifest = manifest(window_start, "1", "1", 1);
        table.chains.put_manifest(&manifest, LATER).await?;
    }
    let expired = manifest(from, "500", "1", 1);
    table.chains.put_manifest(&expired, LATER - 10).await?;

    table.next_pages.store(0, Ordering::Release);
    let found = table.chains.chains(from, from + 60, LATER - 10).await?;
    ensure!(found == expected, "{} chains of 40", found.len());
    ensure!(
        table.next_pages.load(Ordering::Acquire) >= 2,
        "one page each"
    );
    Ok(())
}

async fn a_piece_is_whole_or_incomplete(table: &Table) -> Result<()> {
    let content: Vec<u8> = (0..900_000_u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    for _ in 0..2 {
        table.chains.put_piece(SHARD, &content, LATER).await?;
    }
    let (name, parts) = table.chains.put_piece(SHARD, &content, LATER).await?;
    ensure!(parts == 3, "{parts} parts");
    let entry = PieceEntry {
        name,
        parts,
        bytes: content.len() as u32,
        panes: vec![],
    };
    ensure!(
        table.chains.piece(SHARD, &entry).await? == content,
        "other content"
    );

    let pk = format!("piece#{SHARD}#{name}");
    let request = table.raw.delete_item().table_name(&table.name);
    request
        .key("pk", text(&pk))
        .key("sk", text("001"))
        .send()
        .await?;
    let error = table.chains.piece(SHARD, &entry).await.err();
    let error = error.context("a piece without its middle")?;
    ensure!(
        error.code() == "piece_incomplete" && error.is_retryable(),
        "{error}"
    );
    table.chains.put_piece(SHARD, &content, LATER).await?;
    ensure!(
        table.chains.piece(SHARD, &entry).await? == content,
        "not mended"
    );
    Ok(())
}

async fn holds_what_it_promises(table: &Table) -> Result<()> {
    the_furthest_manifest_stays(table)
        .await
        .context("conditions")?;
    every_chain_is_found(table).await.context("pages")?;
    a_piece_is_whole_or_incomplete(table)
        .await
        .context("pieces")?;
    the_last_report_stays(table).await.context("health")
}

/// The template's own table, and nothing else of it.
fn table_of_template() -> Result<String> {
    let template = include_str!("../../template.yaml");
    let from = template
        .find("\n  AggregationTable:\n")
        .context("no table")?;
    let block = &template[from..];
    let to = block.find("\n\n").context("no end of the table")?;
    Ok(format!("Resources:{}\n", &block[..to]))
}

#[tokio::test(flavor = "multi_thread")]
async fn chains_in_the_emulator_which_deletes_what_has_expired() -> Result<()> {
    let state = std::env::temp_dir().join(format!("freshet-e2e-chains-{}", std::process::id()));
    let paths = Paths::new(Some(&state))?;
    let installed = install(&paths, &Progress::silent()).await?;
    let server = MiniStack::start(&paths, &installed, free_port(0, "")?).await?;
    let cloudformation = aws_sdk_cloudformation::Client::new(&aws_config(server.url()).await);
    let create = cloudformation.create_stack().stack_name("tables");
    create.template_body(table_of_template()?).send().await?;
    let deadline = Instant::now() + Duration::from_secs(30);
    let name = loop {
        let request = cloudformation.describe_stack_resources();
        let answer = request.stack_name("tables").send().await?;
        let mut resources = answer.stack_resources().iter();
        let done = resources.find(|resource| {
            let status = resource.resource_status();
            status.is_some_and(|status| status.as_str() == "CREATE_COMPLETE")
        });
        if let Some(name) = done.and_then(|resource| resource.physical_resource_id()) {
            break name.to_owned();
        }
        ensure!(Instant::now() < deadline, "{answer:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let table = Table::of(server.url(), name).await?;

    // Expired from the beginning: never returned, and gone in the end.
    let gone = manifest(WINDOW - 60, "1", "1", 1);
    table.chains.put_manifest(&gone, 1_000).await?;
    let (piece, _) = table.chains.put_piece(SHARD, b"gone", 1_000).await?;
    let kept = manifest(WINDOW - 60, "2", "1", 1);
    table.chains.put_manifest(&kept, LATER).await?;
    let found = table.chains.chains(WINDOW - 60, WINDOW - 60, 1_000).await?;
    ensure!(found == [kept.clone()], "{found:?}");

    holds_what_it_promises(&table).await?;

    let hour = format!("chains#{}", (WINDOW - 60) / 3_600);
    let piece = format!("piece#{SHARD}#{piece}");
    let deadline = Instant::now() + Duration::from_secs(100);
    while table.holds(&hour, &gone.chain.to_string()).await? || table.holds(&piece, "000").await? {
        ensure!(Instant::now() < deadline, "expired items stay");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    ensure!(
        table.holds(&hour, &kept.chain.to_string()).await?,
        "too much is gone"
    );
    server.stop().await?;
    Ok(std::fs::remove_dir_all(state)?)
}

/// Its `SQLite` is published for this machine only.
#[cfg_attr(
    not(target_arch = "x86_64"),
    ignore = "DynamoDB Local has no SQLite for it"
)]
#[tokio::test(flavor = "multi_thread")]
async fn chains_in_dynamodb_local() -> Result<()> {
    let state = std::env::temp_dir().join(format!("freshet-e2e-dynamodb-{}", std::process::id()));
    let paths = Paths::new(Some(&state))?;
    let files = install_dynamodb(&paths, &Progress::silent()).await?;
    let server = DynamoDb::start(&paths, &files, free_port(0, "")?).await?;
    let table = Table::of(server.url(), "aggregations".to_owned()).await?;
    let attribute = |name: &str| {
        AttributeDefinition::builder()
            .attribute_name(name)
            .attribute_type(ScalarAttributeType::S)
            .build()
    };
    let key = |name: &str, kind| {
        KeySchemaElement::builder()
            .attribute_name(name)
            .key_type(kind)
            .build()
    };
    table
        .raw
        .create_table()
        .table_name(&table.name)
        .billing_mode(BillingMode::PayPerRequest)
        .attribute_definitions(attribute("pk")?)
        .attribute_definitions(attribute("sk")?)
        .key_schema(key("pk", KeyType::Hash)?)
        .key_schema(key("sk", KeyType::Range)?)
        .send()
        .await?;
    holds_what_it_promises(&table).await?;
    server.stop().await?;
    Ok(std::fs::remove_dir_all(state)?)
}
