//! Runs named steps one after the other and ends with a table of their results and times.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

enum Outcome {
    Passed,
    Failed,
    /// Could not be run, though it must be.
    NotRun,
    /// Could not be run, and need not be.
    Skipped,
}

struct Step {
    name: &'static str,
    outcome: Outcome,
    time: Duration,
    remark: String,
}

/// The steps so far. A failed one does not stop the others: one run shows everything that is wrong.
#[derive(Default)]
pub struct Steps {
    done: Vec<Step>,
}

impl Steps {
    /// Runs a step; its text, a remark or the error, goes into the table. True when it passed.
    pub fn run(&mut self, name: &'static str, step: impl FnOnce() -> Result<String>) -> bool {
        self.run_or(name, Outcome::Failed, step)
    }

    /// Runs a step that may fail: it is then said to be skipped, with the reason.
    pub fn try_run(&mut self, name: &'static str, step: impl FnOnce() -> Result<String>) -> bool {
        self.run_or(name, Outcome::Skipped, step)
    }

    fn run_or(&mut self, name: &'static str, otherwise: Outcome, step: impl FnOnce() -> Result<String>) -> bool {
        println!("\n=== {name} ===");
        let start = Instant::now();
        let result = step();
        let time = start.elapsed();
        let (outcome, remark) = match result {
            Ok(remark) => (Outcome::Passed, remark),
            Err(error) => (otherwise, format!("{error:#}")),
        };
        let passed = matches!(outcome, Outcome::Passed);
        let step = Step { name, outcome, time, remark };
        println!("{}", step.line());
        self.done.push(step);
        passed
    }

    /// Notes a step that could not be run, though it must be.
    pub fn not_run(&mut self, name: &'static str, why: &str) {
        self.done.push(Step { name, outcome: Outcome::NotRun, time: Duration::ZERO, remark: why.to_owned() });
    }

    /// The whole table.
    pub fn table(&self) -> String {
        let total = self.done.iter().map(|step| step.time).sum::<Duration>();
        let lines: String = self.done.iter().map(|step| step.line() + "\n").collect();
        format!("\n{lines}total              {:>8.1} s", total.as_secs_f64())
    }

    /// Prints the table.
    ///
    /// # Errors
    /// When a step failed or could not be run.
    pub fn finish(self) -> Result<()> {
        println!("{}", self.table());
        let is_bad = |step: &&Step| matches!(step.outcome, Outcome::Failed | Outcome::NotRun);
        let bad: Vec<_> = self.done.iter().filter(is_bad).map(|step| step.name).collect();
        ensure!(bad.is_empty(), "not passed: {}", bad.join(", "));
        Ok(())
    }
}

impl Step {
    fn line(&self) -> String {
        let outcome = match self.outcome {
            Outcome::Passed => "ok",
            Outcome::Failed => "FAILED",
            Outcome::NotRun => "not run",
            Outcome::Skipped => "SKIPPED",
        };
        format!("{:<10} {outcome:<7} {:>8.1} s  {}", self.name, self.time.as_secs_f64(), self.remark)
    }
}

/// Runs a command to its end.
///
/// # Errors
/// When it cannot be started, or fails.
pub fn run(command: &mut Command) -> Result<String> {
    let status = command.status().with_context(|| format!("cannot start {}", program(command)))?;
    ensure!(status.success(), "{} ended with {status}", program(command));
    Ok(String::new())
}

/// Runs `cargo test`, passing on what it prints, and counts the tests.
///
/// # Errors
/// When it cannot be started or fails, and when it ran no test.
pub fn run_tests(command: &mut Command) -> Result<String> {
    let mut child =
        command.stdout(Stdio::piped()).spawn().with_context(|| format!("cannot start {}", program(command)))?;
    let mut counts = [0; 3];
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).split(b'\n') {
            let line = line.context("the output of cargo test")?;
            // A test may print any bytes.
            let line = String::from_utf8_lossy(&line);
            println!("{line}");
            for (sum, count) in counts.iter_mut().zip(counted(&line).unwrap_or_default()) {
                *sum += count;
            }
        }
    }
    let status = child.wait().context("cargo test")?;
    let [passed, failed, ignored] = counts;
    let counts = format!("{passed} passed, {failed} failed, {ignored} ignored");
    ensure!(status.success(), "{counts}; cargo test ended with {status}");
    ensure!(passed > 0, "no test ran");
    Ok(counts)
}

/// Passed, failed and ignored tests of one of libtest's closing lines.
fn counted(line: &str) -> Option<[u32; 3]> {
    let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let of = |what: &str| counts.split("; ").find_map(|part| part.strip_suffix(what)?.trim().parse().ok());
    Some([of("passed")?, of("failed")?, of("ignored")?])
}

fn program(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    #[test]
    fn closing_lines_are_counted() {
        let line = "test result: ok. 26 passed; 1 failed; 2 ignored; 0 measured; 3 filtered out; finished in 0.80s";
        assert_eq!(counted(line), Some([26, 1, 2]));
        assert_eq!(counted("test result: FAILED. 0 passed; 4 failed; 0 ignored; 0 measured"), Some([0, 4, 0]));
        assert_eq!(counted("test tests::result ... ok"), None);
        assert_eq!(counted("test result: ok. many passed; 1 failed; 2 ignored"), None);
    }

    #[test]
    fn every_step_is_run_and_named() {
        let mut steps = Steps::default();
        assert!(steps.run("first", || Ok("remark".to_owned())));
        assert!(!steps.run("second", || bail!("broken")));
        assert!(steps.run("third", || Ok(String::new())));
        steps.not_run("fourth", "not possible");
        assert!(!steps.try_run("fifth", || bail!("not at hand")));
        let table = steps.table();
        for text in ["remark", "broken", "third", "not possible", "SKIPPED", "not at hand"] {
            assert!(table.contains(text), "{table}");
        }
        assert_eq!(steps.finish().unwrap_err().to_string(), "not passed: second, fourth");
    }
}
