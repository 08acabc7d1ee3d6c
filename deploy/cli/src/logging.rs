//! Log lines: text for people, JSON for collectors, on standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::time::ChronoLocal;

use crate::arguments::LogFormat;
use crate::failure::Failure;

/// librdkafka reports every lost connection; what matters of it reaches the routes' states.
const DEFAULT: &str = "info,librdkafka=error,rdkafka=error,hyper=warn,reqwest=warn";

/// Starts logging. `filter` is what the user asked for; `quiet` is the level without a wish.
///
/// # Errors
/// The filter cannot be read.
pub fn start(format: LogFormat, filter: Option<&str>, quiet: bool) -> Result<(), Failure> {
    let wish =
        filter.unwrap_or(if quiet { "warn,librdkafka=error,rdkafka=error" } else { DEFAULT });
    let filter = EnvFilter::try_new(wish)
        .map_err(|error| Failure::new(format!("The log filter `{wish}` cannot be read: {error}. Write for example `info` or `engine=debug`.")))?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match format {
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
        LogFormat::Text => lines
            .with_ansi(std::io::stderr().is_terminal())
            .with_timer(ChronoLocal::new("%H:%M:%S%.3f".into()))
            .try_init(),
    };
    started.map_err(|error| Failure::new(format!("Logging cannot start: {error}.")))
}
