//! What an answer means for the event.

use std::time::{Duration, SystemTime};

use engine::Fault;
use engine::options::Secret;
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};
use reqwest::{StatusCode, Url};

use super::{Answer, Exchange};

/// How long a `Retry-After` is honoured at most, unless the route says otherwise.
pub const DEFAULT_RETRY_AFTER_CAP: Duration = Duration::from_secs(3_600);

/// How much of an answer a message shows, in characters.
const SHOWN: usize = 300;

impl Exchange {
    /// What the answer's status means by the rules of HTTP and of webhooks:
    ///
    /// | status | the event |
    /// |---|---|
    /// | 2xx | is delivered |
    /// | 401, 403, 410 | waits with its route: the application refuses us |
    /// | 3xx | waits with its route: the address in the file is not the application's |
    /// | other 4xx, but not 408, 425, 429 | goes to the dead letters: it is refused itself |
    /// | 408, 425, 429, 5xx, any other | is tried again, not before `Retry-After` |
    ///
    /// # Errors
    /// The fault of any status but 2xx.
    pub fn verdict(&self, answer: &Answer) -> Result<(), Fault> {
        let status = answer.status;
        if status.is_success() {
            return Ok(());
        }
        let said = self.said(answer);
        let cause = cause(status);
        if status.is_redirection() {
            let advice = "redirects are not followed: write the final address in the connection";
            return Err(Fault::refused(cause, format!("{said}; {advice}.")));
        }
        if matches!(status.as_u16(), 401 | 403 | 410) {
            let advice = "the route waits; check the connection's credentials and address";
            return Err(Fault::refused(cause, format!("{said}; {advice}.")));
        }
        if status.is_client_error() && !matches!(status.as_u16(), 408 | 425 | 429) {
            return Err(Fault::data(cause, format!("{said}; it would answer the same again.")));
        }
        let mut fault = Fault::remote(cause, format!("{said}; it is tried again."));
        // A gateway that got no answer does not know either.
        fault.unknown_outcome = matches!(status.as_u16(), 502 | 504);
        Err(match answer.retry_after {
            Some(wait) => fault.after(wait),
            None => fault,
        })
    }

    /// What was asked and what came back, as the start of a sentence.
    pub fn said(&self, answer: &Answer) -> String {
        let Answer { status, asked, .. } = answer;
        let reason = status.canonical_reason().map(|r| format!(" {r}")).unwrap_or_default();
        let head = format!("{asked} answered {}{reason}", status.as_u16());
        match self.shown(&answer.body).as_str() {
            "" => head,
            text => format!("{head}: {text}"),
        }
    }

    /// The start of an answer as one line, without control characters and secrets.
    pub fn shown(&self, body: &[u8]) -> String {
        let token = self.tokens.as_ref().and_then(|tokens| tokens.last());
        one_line(&String::from_utf8_lossy(body), self.secrets.iter().chain(&token))
    }
}

/// The start of a text as one line, without control characters and these secrets.
pub(super) fn one_line<'s>(text: &str, secrets: impl Iterator<Item = &'s String>) -> String {
    let text = secrets.fold(text.to_owned(), |text, secret| text.replace(secret, "***"));
    let words: Vec<&str> = text
        .split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|w| !w.is_empty())
        .collect();
    let line = words.join(" ");
    match line.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// The texts to look for; shorter ones would hide common words. Some applications give out
/// addresses that are secrets themselves, whose paths or queries are long.
pub(super) fn texts_to_hide(base: &Url, secrets: &[Secret]) -> Vec<String> {
    let secrets = secrets.iter().map(Secret::reveal).filter(|text| text.len() >= 4);
    let address = [Some(base.path()), base.query()].into_iter().flatten();
    secrets.chain(address.filter(|text| text.len() >= 16)).map(str::to_owned).collect()
}

/// A short stable name of a status that is a failure.
fn cause(status: StatusCode) -> &'static str {
    match status.as_u16() {
        300..=399 => "http_redirect",
        400 => "http_400",
        401 => "http_401",
        403 => "http_403",
        404 => "http_404",
        405 => "http_405",
        408 => "http_408",
        409 => "http_409",
        410 => "http_410",
        413 => "http_413",
        415 => "http_415",
        422 => "http_422",
        425 => "http_425",
        429 => "http_429",
        500 => "http_500",
        502 => "http_502",
        503 => "http_503",
        504 => "http_504",
        _ if status.is_client_error() => "http_4xx",
        _ => "http_5xx",
    }
}

/// How long from now the application wants to be left alone (RFC 9110, 10.2.3): only with 429 and
/// 503, whose definitions speak of it. A date is read against the answer's own `Date`, so that two
/// clocks that differ do not matter.
pub(super) fn retry_after(status: StatusCode, headers: &HeaderMap) -> Option<Duration> {
    if !matches!(status.as_u16(), 429 | 503) {
        return None;
    }
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    // Shopify writes `2.0`.
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let are_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let wait = match !whole.is_empty() && are_digits(whole) && are_digits(fraction) {
        true => {
            // More digits than fit are a long time.
            let seconds = whole.parse().unwrap_or(u64::MAX);
            let more = fraction.bytes().any(|digit| digit != b'0');
            Duration::from_secs(seconds.saturating_add(more.into()))
        }
        false => {
            let until = httpdate::parse_http_date(text).ok()?;
            let date = headers.get(DATE).and_then(|date| date.to_str().ok());
            let now = date.and_then(|date| httpdate::parse_http_date(date).ok());
            until.duration_since(now.unwrap_or_else(SystemTime::now)).ok()?
        }
    };
    (!wait.is_zero()).then_some(wait)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| ((*name).parse().unwrap(), value.parse().unwrap()))
            .collect()
    }

    fn wait(pairs: &[(&'static str, &str)]) -> Option<Duration> {
        retry_after(StatusCode::TOO_MANY_REQUESTS, &headers(pairs))
    }

    #[test]
    fn retry_after_is_read_as_seconds_and_as_a_date() {
        assert_eq!(wait(&[("retry-after", "120")]), Some(Duration::from_secs(120)));
        assert_eq!(wait(&[("retry-after", "2.0")]), Some(Duration::from_secs(2)));
        assert_eq!(wait(&[("retry-after", "0.5")]), Some(Duration::from_secs(1)));
        let date = "Wed, 21 Oct 2015 07:28:00 GMT";
        let later = "Wed, 21 Oct 2015 07:30:00 GMT";
        let pairs = [("retry-after", later), ("date", date)];
        assert_eq!(wait(&pairs), Some(Duration::from_secs(120)));
        let soon = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(60));
        let seconds = wait(&[("retry-after", &soon)]).unwrap().as_secs();
        assert!((58..=60).contains(&seconds), "{seconds}");
    }

    #[test]
    fn a_retry_after_that_is_past_or_nonsense_is_none() {
        for text in ["0", "0.0", ".", ".5", "", "soon", "-5", "Wed, 21 Oct 2015 07:28:00 GMT"] {
            assert_eq!(wait(&[("retry-after", text)]), None, "{text}");
        }
        assert_eq!(
            wait(&[("retry-after", "99999999999999999999999")]),
            Some(Duration::from_secs(u64::MAX))
        );
        let found = headers(&[("retry-after", "120")]);
        assert_eq!(retry_after(StatusCode::INTERNAL_SERVER_ERROR, &found), None);
    }
}
