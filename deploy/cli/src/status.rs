//! `passerelle status` and `accept`: asks the running process.

use std::process::ExitCode;
use std::time::Duration;

use engine::publisher::Progress;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::addresses::Addresses;
use crate::arguments::{Accept, Status};
use crate::failure::{Failure, Outcome};
use crate::shadow::Standing;

const TIMEOUT: Duration = Duration::from_secs(30);

/// A route as the running process reports it.
#[derive(Deserialize)]
struct Route {
    route: String,
    role: String,
    state: String,
    reason: Option<String>,
    /// Milliseconds since the Unix epoch.
    next_try: Option<i64>,
    lag_events: i64,
    lag_seconds: f64,
    parked_keys: i64,
    open_dead_letters: Option<i64>,
    progress: Option<Progress>,
}

/// What became of the files when they were last read.
#[derive(Deserialize)]
struct Configuration {
    state: String,
    at: String,
    #[serde(default)]
    errors: Vec<Problem>,
    #[serde(default)]
    drawn: String,
}

#[derive(Deserialize)]
struct Problem {
    severity: String,
}

async fn ask<T: DeserializeOwned>(admin: &str, page: &str) -> Result<T, Failure> {
    serde_json::from_str(&get(admin, page).await?).map_err(|error| {
        Failure::new(format!("http://{admin}/{page} answers something else: {error}."))
    })
}

/// A page of the running process.
pub async fn get(admin: &str, page: &str) -> Result<String, Failure> {
    let url = format!("http://{admin}/{page}");
    let answer = client()?.get(&url).send().await.map_err(|error| unreachable(&url, &error))?;
    answer.text().await.map_err(|error| unreachable(&url, &error))
}

/// Shows the routes of the running process, and whether its files were rejected.
pub async fn run(options: Status) -> Outcome {
    let addresses = Addresses::resolve(&options.address)?;
    let admin = addresses.admin()?;
    if options.json {
        let routes: serde_json::Value = ask(admin, "status").await?;
        say!("{routes:#}");
        return Ok(ExitCode::SUCCESS);
    }
    let routes: Vec<Route> = ask(admin, "status").await?;
    let width =
        routes.iter().map(|route| route.route.len()).max().unwrap_or_default().max("ROUTE".len());
    say!("{:width$}  ROLE       STATE          LAG", "ROUTE");
    for route in &routes {
        show(route, width);
    }
    for Standing { route, file, summary } in ask::<Vec<Standing>>(admin, "shadows").await? {
        say!("\n{route} is in shadow: nothing is sent, {summary}");
        say!("`passerelle shadow {}` shows the differences", file.display());
    }
    let Configuration { state, at, errors, drawn } = ask(admin, "configuration").await?;
    if state == "rejected" {
        let errors = match errors.iter().filter(|problem| problem.severity == "error").count() {
            1 => "1 error".to_owned(),
            count => format!("{count} errors"),
        };
        say!("\nconfiguration: rejected at {at}, {errors}; what ran before runs on\n\n{drawn}");
    }
    Ok(ExitCode::SUCCESS)
}

fn show(shown: &Route, width: usize) {
    let Route { route, role, state, reason, lag_events, lag_seconds, .. } = shown;
    let lag = if role == "source" {
        String::new()
    } else {
        format!("{lag_events} events, {lag_seconds:.1} s")
    };
    say!("{route:width$}  {role:<9}  {state:<9}  {lag:>22}");
    if let Some(reason) = reason {
        let next_try = shown.next_try.map(next_try).unwrap_or_default();
        say!("{:width$}    {reason}{next_try}", "");
    }
    if let Some(Progress { table, rows, about }) = &shown.progress {
        let about = about.map(|about| format!(" of about {about}")).unwrap_or_default();
        say!("{:width$}    reads the rows of {table}: {rows}{about}", "");
    }
    let (letters, keys) = (shown.open_dead_letters.unwrap_or_default(), shown.parked_keys);
    let plural = |count: i64, word: &str| match count {
        1 => format!("1 {word}"),
        count => format!("{count} {word}s"),
    };
    let letters = (letters > 0).then(|| format!("{} open", plural(letters, "dead letter")));
    let keys = (keys > 0).then(|| format!("{} parked", plural(keys, "key")));
    let both: Vec<String> = letters.into_iter().chain(keys).collect();
    if !both.is_empty() {
        let what = both.join(", ");
        say!("{:width$}    {what}: `passerelle dead-letters list {route}`", "");
    }
}

/// When a route tries again, as the end of a line.
fn next_try(millis: i64) -> String {
    let wait = millis.saturating_sub(engine::clock::unix_millis()).max(0);
    match wait {
        0 => " (tries again now)".to_owned(),
        wait => format!(" (tries again in {:.1} s)", wait as f64 / 1_000.0),
    }
}

/// Lets a route that waits at a gap go on from another place.
pub async fn accept(options: Accept) -> Outcome {
    let admin = Addresses::resolve(&options.address)?;
    let url = format!("http://{}/routes/{}/accept", admin.admin()?, options.route);
    let call = client()?.post(&url).query(&[("from", &options.from)]);
    let answer = call.send().await.map_err(|error| unreachable(&url, &error))?;
    let status = answer.status();
    let body = answer.text().await.map_err(|error| unreachable(&url, &error))?;
    if status.is_success() {
        say!("{} goes on from {}.", options.route, options.from);
        return Ok(ExitCode::SUCCESS);
    }
    let told = serde_json::from_str::<serde_json::Value>(&body)
        .ok()
        .and_then(|body| Some(body["error"].as_str()?.to_owned()));
    Err(Failure::new(format!("{} was not changed: {}", options.route, told.unwrap_or(body))))
}

fn client() -> Result<reqwest::Client, Failure> {
    reqwest::Client::builder()
        .no_proxy()
        .timeout(TIMEOUT)
        .build()
        .map_err(|error| Failure::new(format!("No HTTP client: {error}.")))
}

fn unreachable(url: &str, error: &reqwest::Error) -> Failure {
    Failure::new(format!("The running process does not answer at {url}: {error}. Does it run?"))
}
