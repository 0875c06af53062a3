//! Repository chores. Knows commands, files and the dependency graph; nothing of models or GPUs.

mod golden;
mod matrix;
mod steps;
mod test;
mod tidy;
mod vulkan;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(bin_name = "cargo xtask", about = "Repository chores")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Everything that a change must pass, here as in CI: formatting, tidy, lints, docs and every test
    #[command(visible_alias = "ci")]
    Test(test::Arguments),
    /// Checks the crates' edges and the house rules that no compiler knows
    Tidy,
    /// Makes or checks the golden fixtures of a model family
    Golden(golden::Arguments),
    /// Makes MODELS.md from the tests of models that passed
    Matrix(matrix::Arguments),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Test(arguments) => test::run(&arguments),
        Command::Tidy => tidy::run().map(|summary| println!("{summary}")),
        Command::Golden(arguments) => golden::run(&arguments),
        Command::Matrix(arguments) => matrix::run(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Without the backtrace: what is wrong is in the repository, not in this program.
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
