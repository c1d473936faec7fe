//! From an alarm to whoever is on call: the templates of topics and alarms,
//! without the rest, on the emulator. What stands for a mailbox is a queue.

use crate::support::state_folder;
use anyhow::{Context as _, Result, ensure};
use aws_config::SdkConfig;
use aws_sdk_cloudformation::types::{Capability, Parameter, StackStatus};
use aws_sdk_cloudwatch::types::StateValue;
use freshet::install::install;
use freshet::paths::Paths;
use freshet::progress::Progress;
use freshet::servers::{MiniStack, free_port};
use freshet_alarms::{Definition, definitions};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

async fn deploy(
    aws: &SdkConfig,
    stack: &str,
    file: &str,
    parameters: &[(&str, &str)],
) -> Result<BTreeMap<String, String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../infra")
        .join(file);
    let template = std::fs::read_to_string(&path).with_context(|| file.to_owned())?;
    let client = aws_sdk_cloudformation::Client::new(aws);
    let parameters = parameters.iter().map(|(key, value)| {
        Parameter::builder()
            .parameter_key(*key)
            .parameter_value(*value)
            .build()
    });
    let create = client
        .create_stack()
        .stack_name(stack)
        .template_body(template)
        .capabilities(Capability::CapabilityIam)
        .set_parameters(Some(parameters.collect()));
    create.send().await?;
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let described = client.describe_stacks().stack_name(stack).send().await?;
        let found = described.stacks().first().context("no stack")?;
        match found.stack_status() {
            Some(StackStatus::CreateComplete) => {
                let outputs = found.outputs().iter().filter_map(|output| {
                    Some((output.output_key()?.into(), output.output_value()?.into()))
                });
                return Ok(outputs.collect());
            }
            Some(StackStatus::CreateInProgress) if Instant::now() < deadline => {}
            other => anyhow::bail!("{stack} is {other:?}: {:?}", found.stack_status_reason()),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// A queue that gets what a topic is told.
struct Mailbox {
    sqs: aws_sdk_sqs::Client,
    url: String,
}

impl Mailbox {
    async fn of(aws: &SdkConfig, name: &str, topic: &str) -> Result<Self> {
        let sqs = aws_sdk_sqs::Client::new(aws);
        let created = sqs.create_queue().queue_name(name).send().await?;
        let url = created.queue_url().context("no queue")?.to_owned();
        let arn = format!(
            "arn:aws:sqs:{}:{}:{name}",
            freshet_local::REGION,
            freshet_local::ACCOUNT
        );
        let subscribe = aws_sdk_sns::Client::new(aws)
            .subscribe()
            .topic_arn(topic)
            .protocol("sqs")
            .endpoint(arn);
        subscribe.send().await?;
        Ok(Self { sqs, url })
    }

    /// The alarms told of so far, each with its new state; they are told once.
    async fn read(&self) -> Result<BTreeSet<(String, String)>> {
        let mut found = BTreeSet::new();
        loop {
            let receive = self.sqs.receive_message().queue_url(&self.url);
            let answer = receive.max_number_of_messages(10).send().await?;
            if answer.messages().is_empty() {
                return Ok(found);
            }
            for message in answer.messages() {
                let body: Value = serde_json::from_str(message.body().context("a body")?)?;
                let notice = body["Message"].as_str().context("a message")?;
                let notice: Value = serde_json::from_str(notice)?;
                let text = |key: &str| notice[key].as_str().map(str::to_owned);
                let told = text("AlarmName").zip(text("NewStateValue"));
                found.insert(told.with_context(|| notice.to_string())?);
                let delete = self.sqs.delete_message().queue_url(&self.url);
                let handle = message.receipt_handle().context("a handle")?;
                delete.receipt_handle(handle).send().await?;
            }
        }
    }
}

async fn set(aws: &SdkConfig, alarm: &str, state: StateValue) -> Result<()> {
    let set = aws_sdk_cloudwatch::Client::new(aws)
        .set_alarm_state()
        .alarm_name(alarm)
        .state_value(state)
        .state_reason("a test says so");
    set.send().await.with_context(|| alarm.to_owned())?;
    Ok(())
}

/// The alarms of a template's stack that are on metrics.
async fn alarms(aws: &SdkConfig, stack: &str) -> Result<Vec<Definition>> {
    let cloudformation = aws_sdk_cloudformation::Client::new(aws);
    let resources = freshet_local::stack::alarms(&cloudformation, stack).await?;
    Ok(definitions(&resources)?)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alarm_reaches_its_topic_and_a_topic_that_is_gone_holds_up_nothing() -> Result<()> {
    let state = state_folder("notices");
    let paths = Paths::new(Some(&state))?;
    let installed = install(&paths, &Progress::silent()).await?;
    let ministack = MiniStack::start(&paths, &installed, free_port(0, "")?).await?;
    let aws = freshet_local::cloud::aws_config(ministack.url()).await;
    let topics = deploy(&aws, "topics", "topics.yaml", &[("Stack", "one")]).await?;
    let (critical, warning) = (&topics["CriticalTopicArn"], &topics["WarningTopicArn"]);
    let parameters = [
        ("Stack", "one"),
        ("CriticalTopic", critical),
        ("WarningTopic", warning),
    ];
    deploy(&aws, "alarms", "alarms.yaml", &parameters).await?;
    let mailboxes = [
        Mailbox::of(&aws, "critical", critical).await?,
        Mailbox::of(&aws, "warning", warning).await?,
    ];

    let all = alarms(&aws, "alarms").await?;
    let mut told = BTreeMap::new();
    for alarm in &all {
        let Definition::Metric(alarm) = alarm else {
            continue;
        };
        for (state, text) in [(StateValue::Alarm, "ALARM"), (StateValue::Ok, "OK")] {
            set(&aws, &alarm.name, state).await?;
            let notice = (alarm.name.clone(), text.to_owned());
            let mut reached = Vec::new();
            for (place, mailbox) in mailboxes.iter().enumerate() {
                let read = mailbox.read().await?;
                if read.contains(&notice) {
                    reached.push(place);
                }
                // Beside the alarm itself, the composite one only.
                let mut others = read.iter().map(|(name, _)| name);
                let composite = others.all(|name| *name == alarm.name || name == "one-unhealthy");
                ensure!(composite, "{}: {read:?}", alarm.name);
                if read.contains(&("one-unhealthy".to_owned(), text.to_owned())) {
                    told.entry(text)
                        .or_insert_with(BTreeSet::new)
                        .insert(alarm.name.clone());
                }
            }
            ensure!(reached.len() == 1, "{notice:?} reached {reached:?}");
        }
    }
    for needs in [
        "cluster-red",
        "disk-full",
        "probe-failing",
        "probe-missing",
        "ledger-unbalanced",
    ] {
        let name = format!("one-{needs}");
        ensure!(
            told["ALARM"].contains(&name),
            "the whole is unhealthy by {name}: {told:?}"
        );
        ensure!(told["OK"].contains(&name), "and healthy again: {told:?}");
    }

    // The critical topic is gone: warnings go on, and the alarm still changes.
    let delete = aws_sdk_sns::Client::new(&aws)
        .delete_topic()
        .topic_arn(critical);
    delete.send().await?;
    set(&aws, "one-cluster-red", StateValue::Alarm).await?;
    set(&aws, "one-heap-full", StateValue::Alarm).await?;
    ensure!(mailboxes[0].read().await?.is_empty(), "nobody is told");
    let warned = mailboxes[1].read().await?;
    ensure!(
        warned == BTreeSet::from([("one-heap-full".to_owned(), "ALARM".to_owned())]),
        "{warned:?}"
    );
    let described = aws_sdk_cloudwatch::Client::new(&aws)
        .describe_alarms()
        .alarm_names("one-cluster-red")
        .send()
        .await?;
    let found = described.metric_alarms().first().context("the alarm")?;
    ensure!(found.state_value() == Some(&StateValue::Alarm), "{found:?}");
    ministack.stop().await?;
    std::fs::remove_dir_all(state)?;
    Ok(())
}
