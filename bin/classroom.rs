//! The `classroom` program: parses the command line, runs the verb, prints one error line, and exits with a code.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use classroom::cli::{self, Cli};
use classroom::exit::{Exit, Failure};

/// How long blocking work, such as a DNS lookup, may continue after the command has ended.
const GRACE: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let cli = match cli::parse_here(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) => {
            // If stderr is closed, there is nowhere to report that.
            let _ = error.print();
            return if error.exit_code() == 0 { Exit::Ended.into() } else { Exit::Usage.into() };
        }
    };
    match run(cli) {
        Ok(()) => Exit::Ended.into(),
        Err(failure) => {
            let red = anstyle::AnsiColor::Red.on_default().bold();
            let _ = writeln!(anstream::stderr(), "{red}error:{red:#} {failure}");
            failure.exit.into()
        }
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    let runtime = tokio::runtime::Runtime::new().map_err(Failure::internal)?;
    let outcome = runtime.block_on(classroom::run(cli));
    runtime.shutdown_timeout(GRACE);
    outcome
}
