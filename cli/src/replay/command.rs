//! `freshet replay`.

use super::{Clients, Kind, Options, Since, Summary, Target, run};
use anyhow::Context as _;
use freshet_events::Timestamp;
use indicatif::{ProgressBar, ProgressStyle};
use jiff::{Span, SpanRelativeTo};
use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

/// Send dead letters through the same code again.
///
/// Reads the dead-letter queue and the dead-letter bucket, and puts every
/// event back on the stream. Doing so twice changes nothing: an event has one
/// document. The exit code is 1 if something could not be replayed.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only dead letters from then on: a duration (2h, 7d) or a time (2026-11-23, 2026-11-23T18:00Z)
    #[arg(long, value_name = "WHEN", value_parser = since)]
    since: Option<Since>,
    /// Only this code, such as `mapper_parsing_exception`, `stream_refused` or `RetryAttemptsExhausted`
    #[arg(long)]
    code: Option<String>,
    /// Only these shapes
    #[arg(long, value_delimiter = ',', value_name = "KIND,…")]
    kinds: Vec<Kind>,
    /// Count by kind and code, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// A deployed stack, by its CloudFormation name [default: the local stack]
    #[arg(long, value_name = "NAME")]
    stack: Option<String>,
    /// The most events put in a second; 0 for no bound
    #[arg(long, value_name = "EVENTS", default_value_t = 5_000)]
    rate: u32,
    /// Where to note what is done, so that an interrupted replay goes on [default: under replay/ in the state directory]
    #[arg(long, value_name = "FILE")]
    progress: Option<PathBuf>,
    /// The local stack's state
    #[arg(long, value_name = "DIR", default_value = ".local")]
    state: PathBuf,
}

/// Runs the command and prints its summary.
///
/// # Errors
/// If the stack is not found, or its queue or bucket cannot be read.
pub async fn execute(args: Args) -> anyhow::Result<ExitCode> {
    // A panic's message may quote the event it was about.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        tracing::warn!(place, "reading an event panicked");
    }));
    let (target, clients) = connect(&args).await?;
    let options = args.options(&target);
    let bar = progress_bar();
    let mut watch = |summary: &Summary| {
        let total = summary.total();
        bar.set_message(format!(
            "{} letters, {} of {} events replayed, {} failed",
            total.letters,
            total.replayed,
            total.events(),
            total.failed + total.refused
        ));
        bar.tick();
    };
    let result = run(&options, &clients, &mut watch).await;
    bar.finish_and_clear();
    let summary = result.context("the replay broke off; nothing is lost, run it again to go on")?;
    print!("{summary}");
    Ok(if summary.is_complete() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn connect(args: &Args) -> anyhow::Result<(Target, Clients)> {
    let (target, aws) = match &args.stack {
        None => Target::local(&args.state).await?,
        Some(stack) => {
            let aws = aws_config::from_env().load().await;
            (Target::deployed(stack, &aws).await?, aws)
        }
    };
    let clients = target.clients(&aws);
    Ok((target, clients))
}

/// Silent unless someone watches.
fn progress_bar() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{spinner} {elapsed} {msg}");
    ProgressBar::new_spinner()
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
}

impl Args {
    fn options(self, target: &Target) -> Options {
        let mut options = Options {
            since: self.since,
            code: self.code,
            dry_run: self.dry_run,
            events_per_s: self.rate,
            ..Options::default()
        };
        if !self.kinds.is_empty() {
            options.kinds = self.kinds.into_iter().collect();
        }
        let file = || {
            let name = format!("{} {}", target.dead_letter_bucket, options.selection());
            self.state.join("replay").join(file_name(&name))
        };
        options.progress = Some(self.progress.unwrap_or_else(file));
        options
    }
}

/// One file a selection, with a name that says which.
fn file_name(words: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || c == '.' {
            c
        } else {
            '-'
        }
    };
    let mut name: String = words.chars().take(200).map(plain).collect();
    name.push_str(".progress");
    name
}

fn since(text: &str) -> Result<Since, String> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_millis()).ok())
        .and_then(Timestamp::from_millis)
        .ok_or("the clock is wrong")?;
    since_at(text, now)
        .ok_or_else(|| "neither a duration (2h, 7d) nor a time (2026-11-23)".to_owned())
}

/// A time, or a duration before `now`; a day has 24 hours.
fn since_at(text: &str, now: Timestamp) -> Option<Since> {
    let at = Timestamp::parse_iso8601(text).or_else(|| {
        let span: Span = text.parse().ok()?;
        let ago = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
        let ms = i64::try_from(ago.as_millis()).ok()?;
        (ms >= 0).then(|| now.saturating_add_millis(-ms))
    })?;
    Some(Since {
        text: text.to_owned(),
        at,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        args: Args,
    }

    fn options(line: &[&str]) -> Options {
        let target = Target {
            stack: "freshet".into(),
            stream: "s".into(),
            dead_letter_queue_url: "q".into(),
            dead_letter_bucket: "bucket".into(),
        };
        let words = std::iter::once(&"replay").chain(line);
        Command::parse_from(words).args.options(&target)
    }

    #[test]
    fn since_is_a_time_or_a_duration() {
        let now = Timestamp::parse_iso8601("2026-11-23T12:00:00Z").unwrap();
        for (text, at) in [
            ("2h", Some("2026-11-23T10:00:00Z")),
            ("7d", Some("2026-11-16T12:00:00Z")),
            ("1w", Some("2026-11-16T12:00:00Z")),
            ("1h 30m", Some("2026-11-23T10:30:00Z")),
            ("2026-11-20", Some("2026-11-20T00:00:00Z")),
            ("2026-11-20T01:00+01:00", Some("2026-11-20T00:00:00Z")),
            ("-2h", None),
            ("2 moons", None),
            ("", None),
        ] {
            let at = at.and_then(Timestamp::parse_iso8601);
            assert_eq!(since_at(text, now).map(|since| since.at), at, "{text}");
        }
    }

    #[test]
    fn without_flags_everything_is_replayed() {
        let options = options(&[]);
        assert_eq!(options.kinds, Kind::ALL.into());
        assert!(!options.dry_run && options.since.is_none() && options.code.is_none());
        let file = ".local/replay/bucket-kinds-queue-rejected-undecodable-on-failure.progress";
        assert_eq!(options.progress, Some(file.into()));
    }

    #[test]
    fn flags_select() {
        let options = options(&[
            "--kinds",
            "on-failure,queue",
            "--since",
            "2h",
            "--code",
            "x/../y",
            "--dry-run",
            "--state",
            "s",
        ]);
        assert_eq!(options.kinds, [Kind::Queue, Kind::OnFailure].into());
        assert_eq!(
            options.selection(),
            "kinds queue,on-failure since 2h code x/../y"
        );
        let file = "s/replay/bucket-kinds-queue-on-failure-since-2h-code-x-..-y.progress";
        assert_eq!(options.progress, Some(file.into()));
        assert!(options.dry_run);
    }
}
