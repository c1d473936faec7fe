//! The freshet command.

use clap::{Parser, Subcommand};
use freshet::bench::Bench;
use freshet::cost::Cost;
use freshet::provision::Provision;
use freshet::send::Send;
use freshet::top::Top;
use freshet::up::{Down, Status, Up};
use freshet::{replay, up};
use std::process::ExitCode;

/// Serverless real-time clickstream analytics, on this machine and on AWS.
#[derive(Parser)]
#[command(name = "freshet", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Up(Up),
    Down(Down),
    Status(Status),
    Send(Send),
    Top(Top),
    Replay(replay::Args),
    Provision(Provision),
    Bench(Bench),
    Cost(Cost),
}

#[tokio::main]
async fn main() -> ExitCode {
    up::log_to_stderr();
    match run(Cli::parse().command).await {
        Ok(code) => code,
        Err(error) => {
            // What was wrong and why, in one line each; no backtrace.
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Up(up) => up.run().await?,
        Command::Down(down) => down.run().await?,
        Command::Status(status) => status.run().await?,
        Command::Send(send) => return send.run().await,
        Command::Top(top) => return top.run().await,
        Command::Provision(provision) => provision.run().await?,
        Command::Bench(bench) => bench.run().await?,
        Command::Cost(cost) => cost.run().await?,
        Command::Replay(args) => return replay::execute(args).await,
    }
    Ok(ExitCode::SUCCESS)
}
